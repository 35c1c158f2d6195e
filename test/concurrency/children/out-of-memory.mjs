// A process whose address space is limited once its model is loaded and warm: a batch of 16 does not fit, smaller ones
// do.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { Model, stats } from '../../../dist/index.js';
import { gradCamsOf, report, RESNET, RESNET_OPTIONS, stage } from '../../lifecycle/children/support.mjs';

const SIDE = 512;
/** Bytes beyond what the warm process has: V8 needs some of it, and dies without. */
const HEADROOM = 400 * 2 ** 20;
const addressSpace = () => Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
function limit(bytes) {
  const { status, stderr } = spawnSync('prlimit', [`--pid=${process.pid}`, `--as=${bytes}:`]);
  if (status !== 0) throw new Error(`prlimit: ${stderr}`);
}

const model = await Model.load(RESNET, { ...RESNET_OPTIONS, maxBatch: 16, threads: 1 });
const { images, explain, difference } = await gradCamsOf(model, 16, SIDE);
stage('warm');

limit(addressSpace() + HEADROOM);
for (const round of ['first', 'second']) {
  const before = stats();
  try {
    const found = await explain(images);
    report({
      round,
      halved: stats().halvedBatches - before.halvedBatches,
      batches: stats().batches - before.batches,
      difference: await difference(found),
    });
  } catch ({ code }) {
    report({ round, code });
  }
}
await model.close();
report({ running: stats().running, queued: stats().queued, models: stats().models });
stage('end');
