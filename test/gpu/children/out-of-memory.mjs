// Started with LibTorch's share of the GPU limited, in bytes given as the first argument: a batch of 64 does not fit.
import { Model, deviceMemory, stats } from '../../../dist/index.js';
import { RESNET, RESNET_OPTIONS, report, stage, tensor } from '../../lifecycle/children/support.mjs';

const SIDE = 512;
const one = tensor(1, SIDE, SIDE);
const model = await Model.load(RESNET, { ...RESNET_OPTIONS, device: 'cuda', maxBatch: 64 });
const explain = (images) => model.explain(images, { method: 'grad-cam', targets: [1] });
const images = Array.from({ length: 64 }, (_, i) => ({ data: one.data.map((value) => value * (1 + i / 64)), shape: one.shape }));
const expected = [];
for (const image of images) expected.push((await explain(image))[0].maps[0].data);
const scale = Math.max(...expected.map((map) => map.reduce((most, value) => Math.max(most, Math.abs(value)), 0)));
const difference = (found) =>
  Math.max(...found.flatMap(({ maps }, i) => maps[0].data.reduce((most, value, j) => Math.max(most, Math.abs(value - expected[i][j])), 0))) / scale;
stage('warm');
for (let round = 0; round < 2; round++) {
  const before = stats();
  const found = await explain(images);
  report({ halved: stats().halvedBatches - before.halvedBatches, difference: difference(found), reserved: deviceMemory('cuda:0').reserved });
}
await model.close();
stage('end');
