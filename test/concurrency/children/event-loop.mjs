// 64 explanations at once while a timer of 1 ms runs: how late does the event loop get?
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { monitorEventLoopDelay } from 'node:perf_hooks';

import { Model, stats } from '../../../dist/index.js';
import { report, stage, tensor } from '../../lifecycle/children/support.mjs';

const [input, method, model = 'resnet-tiny-shapes', calls = '64'] = process.argv.slice(2);
const loaded = await Model.load(model, { device: 'cpu' });
const folder = new URL('../../../models/eval/', import.meta.url);
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.png'))
  .map((name) => fileURLToPath(new URL(name, folder)));
const inputs = Array.from({ length: Number(calls) }, (_, i) =>
  input === 'files' ? files[i % files.length] : tensor(1, 224, 224, i + 1),
);

/**
 * The main thread's nanoseconds on a processor, where the system tells; elsewhere the process's would count the
 * engine's.
 */
const busy = existsSync('/proc/self/schedstat')
  ? () => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
  : () => 0;
const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

/**
 * One round of explanations: how late the loop came round (p99), how long it was held by its own work (busyP99),
 * and by all of it (busy). In milliseconds.
 */
async function round() {
  const before = stats();
  const held = [];
  let last = busy();
  const timer = setInterval(() => {
    const now = busy();
    held.push(now - last);
    last = now;
  }, 1);
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  const started = performance.now();
  const results = await Promise.all(inputs.map((each) => loaded.explain(each, { method })));
  const seconds = (performance.now() - started) / 1000;
  histogram.disable();
  clearInterval(timer);
  held.sort((a, b) => a - b);
  return {
    p50: histogram.percentile(50) / 1e6,
    p99: histogram.percentile(99) / 1e6,
    max: histogram.max / 1e6,
    busyP99: percentile(held, 0.99),
    busyMax: held.at(-1),
    busy: held.reduce((sum, each) => sum + each, 0),
    ticks: held.length,
    seconds,
    images: results.flat().length,
    batches: stats().batches - before.batches,
  };
}

await round();
stage('warm');
for (let i = 0; i < 3; i++) report(await round());
await loaded.close();
stage('end');
