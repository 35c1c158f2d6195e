#!/usr/bin/env node
/**
 * What a search over the default candidates costs, as a multiple of one evaluation of the same images by the same
 * metric and one of the candidates' methods. Both run in turns; a figure is the median of the rounds' ratios, by the
 * clock and in processor time.
 *
 *   npm run build && node bench/search.mjs [--model vit-tiny-shapes] [--images 16] [--rounds 3] [METRIC...]
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { Model } from '../dist/index.js';
import { median } from '../dist/bench/statistics.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'vit-tiny-shapes' },
    images: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '3' },
  },
});
const metrics = positionals.length > 0 ? positionals : ['pointing-game', 'mass-accuracy', 'rank-accuracy'];
const folder = new URL('../models/eval/', import.meta.url);
/** @type {{ file: string }[]} */
const index = JSON.parse(readFileSync(new URL('index.json', folder), 'utf8'));
const images = index.slice(0, Number(values.images)).map(({ file }) => fileURLToPath(new URL(file, folder)));
// What a search costs does not depend on where the object is.
const objects = images.map(() => ({ boxes: [{ left: 40, top: 40, width: 90, height: 90 }] }));
const model = await Model.load(values.model, { device: 'cpu' });

/** @param {() => Promise<unknown>} work */
async function timed(work) {
  const before = process.cpuUsage();
  const start = performance.now();
  await work();
  const elapsed = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  return { elapsed, processor: (user + system) / 1000 };
}

for (const metric of metrics) {
  let candidates = 0;
  const search = async () => {
    ({
      candidates: { length: candidates },
    } = await model.search(images, { metric, objects, heldOut: 0 }));
  };
  const evaluate = () => model.evaluate(images, { methods: ['gradient-rollout'], metrics: [metric], objects });
  await evaluate();
  const rounds = [];
  for (let i = 0; i < Number(values.rounds); i++) rounds.push([await timed(search), await timed(evaluate)]);
  const ratio = (/** @type {'elapsed' | 'processor'} */ of) =>
    median(rounds.map(([one, other]) => one[of] / other[of])).toFixed(2);
  const [first] = rounds;
  console.log(
    `${metric}: ${candidates} candidates take ${ratio('elapsed')} times as long as one evaluation of ${images.length} images ` +
      `(${Math.round(first[0].elapsed)} and ${Math.round(first[1].elapsed)} ms in the first round), ${ratio('processor')} times its processor time`,
  );
}
await model.close();
