/**
 * What loading a checkpoint costs, beside reading its file: node --expose-gc bench/checkpoint.mjs FILE.safetensors
 * ARCHITECTURE
 *
 * `models/skeletons.py --weights vit_base_patch16 --out FILE.safetensors` writes one. Rounds alternate; the memory is
 * Linux's peak of the resident set (VmHWM) over what was there before, by the weights' bytes.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

import { binding } from '../dist/engine/binding.js';
import { Model } from '../dist/index.js';
import { defaultCard } from '../dist/models/card.js';
import { locateModel } from '../dist/model/locate.js';

const [file, architecture] = process.argv.slice(2);
if (file === undefined || architecture === undefined) throw new Error('Give a safetensors file and its architecture.');
const card = { ...defaultCard(file), architecture };

/** @param {string} key @returns {number} MB */
const status = (key) =>
  (Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024) / 1e6;

/** @template T @param {() => Promise<T>} work */
async function measured(work) {
  globalThis.gc?.();
  writeFileSync('/proc/self/clear_refs', '5'); // the peak starts from here
  const before = status('VmRSS');
  const begun = performance.now();
  const result = await work();
  return { result, ms: performance.now() - begun, peak: status('VmHWM') - before };
}

/** Into memory, as whoever wants the numbers has to. */
const read = () => readFile(file);

// LibTorch itself, and what it sets up for a first model, are no cost of this one.
await (await Model.load('vit-tiny-shapes', { device: 'cpu' })).close();

const weights = statSync(file).size / 1e6;
const rounds = [];
for (let round = 0; round < 5; round++) {
  const reading = await measured(read);
  const loading = await measured(async () => {
    const { archive, weights: plan } = await locateModel(file, card);
    return binding().load({ path: archive, device: 'cpu', dtype: 'f32', optimize: true, trusted: true, weights: plan });
  });
  await binding().close(loading.result.handle);
  const whole = await measured(() => Model.load(file, { device: 'cpu', card }));
  await whole.result.close();
  rounds.push({
    read: reading.ms,
    load: loading.ms,
    loadPeak: loading.peak / weights,
    ready: whole.ms,
    readyPeak: whole.peak / weights,
  });
}
const median = (key) => rounds.map((round) => round[key]).sort((a, b) => a - b)[2];
console.log(`${file}: ${weights.toFixed(0)} MB, medians of 5 rounds`);
console.log(`reading it into memory ${median('read').toFixed(0)} ms`);
console.log(
  `weights set ${median('load').toFixed(0)} ms (${(median('load') / median('read')).toFixed(2)} x reading), peak ${median('loadPeak').toFixed(2)} x its size`,
);
console.log(
  `ready to answer (graph read and proved, warmed up) ${median('ready').toFixed(0)} ms, peak ${median('readyPeak').toFixed(2)} x its size`,
);
