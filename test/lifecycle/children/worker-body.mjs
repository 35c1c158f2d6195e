// Runs in a worker thread: loads, works, and ends in the way that its parent wants.
import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';

import * as sightline from '../../../dist/index.js';
import { endless, pause, tensor, until, VIT, VIT_OPTIONS } from './support.mjs';

const { Model } = sightline;
const { what, seed = 1 } = workerData;
if (what === 'load') {
  // Many, so that some are under way whenever the end comes.
  for (let i = 0; i < 30; i++) Model.load(VIT, VIT_OPTIONS).catch(() => {});
  parentPort.postMessage('loading');
}
// Batches of one, so that pixels wait in the queue while others are read.
const model = await Model.load(VIT, { ...VIT_OPTIONS, ...(what === 'large-pixels' && { maxBatch: 1 }) });
if (what === 'compute-for-ever' || what === 'throw' || what === 'exit') {
  model.explain(tensor(1, 24, 40), { method: endless(sightline, z), memory: 1 }).catch(() => {});
  parentPort.postMessage('submitted');
  await pause(20);
  if (what === 'throw') throw new Error('the mistake of a worker');
  if (what === 'exit') process.exit(5);
} else if (what === 'large-pixels') {
  // Pixels are read where they lie, in this thread's memory, by the engine's thread.
  const size = 4000;
  const image = { data: new Uint8Array(size * size * 3).fill(90), width: size, height: size, channels: 3 };
  for (let i = 0; i < 4; i++) model.explain(image, { method: 'raw-attention' }).catch(() => {});
  await until('pixels in the queue', () => sightline.stats().queued + sightline.stats().completed > 0);
  parentPort.postMessage('submitted');
} else if (what === 'many') {
  model.explain(tensor(64, 24, 40), { method: 'gradient-rollout' }).catch(() => {});
  parentPort.postMessage('submitted');
} else {
  const results = await model.explain(tensor(12, 24, 40, seed), { method: 'gae', size: 'grid', raw: true });
  parentPort.postMessage(results.map(({ maps }) => [...maps[0].data]));
  if (what === 'close') await model.close();
}
