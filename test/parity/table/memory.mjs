/**
 * Measures the resident memory that Score-CAM of ResNet-50's last layer (2048 channels) adds, and writes memory.json
 * here.
 *
 * Usage: node test/parity/table/memory.mjs SCRATCH [--threads N]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { decodeNpy, Model } from '../../../dist/index.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { threads: { type: 'string', default: '1' }, layer: { type: 'string', default: 'layer4' } },
});
const folder = path.join(positionals[0], 'resnet50');
const status = (field) =>
  Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const { data, shape } = decodeNpy(readFileSync(path.join(folder, 'input.npy')));
const { targets } = JSON.parse(readFileSync(path.join(folder, 'case.json'), 'utf8'));
const threads = Number(values.threads);
const card = {
  name: 'plain',
  input: {
    width: 224,
    height: 224,
    mean: [0, 0, 0],
    std: [1, 1, 1],
    resize: { mode: 'exact', size: [224, 224] },
    interpolation: 'bilinear',
    crop: 'none',
  },
};

const model = await Model.load(path.join(folder, 'model.pt'), { device: 'cpu', threads, card });
const image = { data, shape };
// What every explanation needs once (kernels, the engine's thread, the allocator's first pages) is not Score-CAM's.
await model.explain(image, { method: 'grad-cam', targets });
globalThis.gc?.();
const before = status('VmRSS');
writeFileSync('/proc/self/clear_refs', '5'); // VmHWM starts anew
const start = performance.now();
const cpuBefore = process.cpuUsage();
const [{ maps, chunk }] = await model.explain(image, { method: 'score-cam', targets, layer: values.layer });
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(cpuBefore);
const peak = status('VmHWM');
const found = {
  addedMiB: Math.round(peak - before),
  seconds: Math.round(seconds),
  cpuSeconds: Math.round((user + system) / 1e6),
  chunk,
  before: Math.round(before),
  peak: Math.round(peak),
  threads,
  state: maps[0].state,
  date: new Date().toISOString().slice(0, 10),
};
console.log(JSON.stringify(found));
if (values.layer === 'layer4') {
  writeFileSync(new URL('memory.json', import.meta.url), JSON.stringify(found, null, 1) + '\n');
}
await model.close();
