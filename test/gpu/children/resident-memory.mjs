// Run with --expose-gc: what 2,000 explanations after warm-up leave behind, on the host and on the GPU.
import { Model, deviceMemory } from '../../../dist/index.js';
import {
  pause,
  report,
  RESNET,
  RESNET_OPTIONS,
  stage,
  tensor,
  VIT,
  VIT_OPTIONS,
} from '../../lifecycle/children/support.mjs';

async function collect() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await pause(5);
  }
}
const cases = [
  [await Model.load(RESNET, { ...RESNET_OPTIONS, device: 'cuda' }), tensor(4, 64, 64), 'grad-cam'],
  [await Model.load(VIT, { ...VIT_OPTIONS, device: 'cuda' }), tensor(4, 24, 40), 'gae'],
];
async function explain(count) {
  for (let i = 0; i < count / 4; i++) {
    const [model, images, method] = cases[i % 2];
    await model.explain(images, { method, targets: ['top2'] });
  }
  await collect();
}
await explain(800);
const before = { resident: process.memoryUsage().rss, device: deviceMemory('cuda:0', { resetPeak: true }) };
await explain(2000);
report({
  resident: process.memoryUsage().rss / before.resident,
  allocated: deviceMemory('cuda:0').allocated - before.device.allocated,
  reserved: deviceMemory('cuda:0').reserved - before.device.reserved,
});
for (const [model] of cases) await model.close();
stage('end');
