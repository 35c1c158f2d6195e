// Started with LibTorch's share of the GPU limited, in bytes given as the first argument: a batch of 64 does not fit.
import { Model, deviceMemory, stats } from '../../../dist/index.js';
import { gradCamsOf, report, RESNET, RESNET_OPTIONS, stage } from '../../lifecycle/children/support.mjs';

const SIDE = 512;
const model = await Model.load(RESNET, { ...RESNET_OPTIONS, device: 'cuda', maxBatch: 64 });
const { images, explain, difference } = await gradCamsOf(model, 64, SIDE);
stage('warm');
for (let round = 0; round < 2; round++) {
  const before = stats();
  const found = await explain(images);
  report({
    halved: stats().halvedBatches - before.halvedBatches,
    difference: await difference(found),
    reserved: deviceMemory('cuda:0').reserved,
  });
}
await model.close();
stage('end');
