#!/usr/bin/env node
/**
 * The pointing game for every class-specific method on the shipped models, by `evaluate`: the share of maps whose
 * maximum lies in the mask of the object asked for, on the held-out pictures with two objects, with its 95 % interval.
 * Beside it are two baselines: the picture's center, and a place drawn at random. A method takes as many pictures as it
 * gets through in a budget of seconds, two at least.
 *
 *   npm run build && node bench/pointing.mjs [--budget 60] [--pictures 56] [--write] [METHOD...]
 *
 * `--write` puts the table into docs/measured.md.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import sharp from 'sharp';

import { describeMethods, METHOD_NAMES, Model } from '../dist/index.js';
import { bootstrapMean } from '../dist/requests/evaluate/statistics.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    budget: { type: 'string', default: '60' },
    pictures: { type: 'string', default: '56' },
    write: { type: 'boolean', default: false },
  },
});
const PAGE = new URL('../docs/measured.md', import.meta.url);
const [BEGIN, END] = ['<!-- pointing: node bench/pointing.mjs -->', '<!-- end -->'];
const MODELS = ['resnet-tiny-shapes', 'vit-tiny-shapes'];
const CHUNK = 4;
/** Fewer samples than the methods' defaults where one picture would take minutes on two cores. */
const FEWER = {
  rise: { masks: 1000, score: 'probability' },
  'ss-cam': { samples: 8 },
  'smooth-grad-cam++': { samples: 8 },
  occlusion: { window: 32, stride: 8 },
};

const folder = new URL('../models/eval/', import.meta.url);
/** @type {{ file: string, mask: string, objects: { index: number }[] }[]} */
const index = JSON.parse(readFileSync(new URL('index.json', folder), 'utf8'));
const pathOf = (/** @type {string} */ file) => fileURLToPath(new URL(file, folder));
/** A case for each object: a picture's mask has the gray of its number there, from 1. */
const cases = (
  await Promise.all(
    index
      .filter(({ objects }) => objects.length === 2)
      .slice(0, Number(values.pictures))
      .map(async ({ file, mask, objects }) => {
        const { data, info } = await sharp(pathOf(mask)).raw().toBuffer({ resolveWithObject: true });
        return objects.map(({ index: target }, at) => ({
          image: pathOf(file),
          target,
          object: {
            data: Uint8Array.from({ length: info.width * info.height }, (_, i) =>
              data[i * info.channels] === at + 1 ? 1 : 0,
            ),
            width: info.width,
            height: info.height,
          },
        }));
      }),
  )
).flat();

/** @param {Model} model @param {string} method */
async function pointing(model, method) {
  const end = performance.now() + 1000 * Number(values.budget);
  /** @type {number[]} */
  const figures = [];
  let flat = 0;
  while (figures.length < cases.length && (figures.length === 0 || performance.now() < end)) {
    const some = cases.slice(figures.length, figures.length + CHUNK);
    const { judgements } = await model.evaluate(
      some.map(({ image }) => image),
      {
        methods: [/** @type {any} */ ({ method, ...FEWER[method] })],
        metrics: ['pointing-game'],
        targets: some.map(({ target }) => [target]),
        objects: some.map(({ object }) => object),
      },
    );
    for (const { figures: own, state } of judgements) {
      // A map that is flat points at nothing.
      if (state !== 'ok') flat++;
      figures.push(state === 'ok' ? own['pointing-game'] : 0);
    }
  }
  return { ...bootstrapMean(figures, 0.95, 0), count: figures.length, flat };
}

const percent = (/** @type {number} */ share) => `${(100 * share).toFixed(1)} %`;
/** @type {Record<string, string>} */
const cells = {};
for (const name of MODELS) {
  const model = await Model.load(name, { device: 'cpu' });
  const { methods } = await model.inspect();
  for (const { name: method, isClassSpecific } of describeMethods()) {
    if (positionals.length > 0 && !positionals.includes(method)) continue;
    if (!isClassSpecific || !methods.find((each) => each.name === method)?.applies) continue;
    const { mean, low, high, count, flat } = await pointing(model, method);
    cells[`${name} ${method}`] =
      `${percent(mean)} [${(100 * low).toFixed(0)}, ${(100 * high).toFixed(0)}]` +
      (count < cases.length ? ` of ${count}` : '') +
      (flat > 0 ? `, ${flat} flat` : '');
    console.error(`${name} ${method}: ${cells[`${name} ${method}`]}`);
  }
  await model.close();
}
const share = (/** @type {(one: typeof cases[0]) => number} */ of) =>
  percent(cases.reduce((sum, one) => sum + of(one), 0) / cases.length);
const center = share(
  ({ object: { data, width, height } }) => data[Math.floor(height / 2) * width + Math.floor(width / 2)],
);
const random = share(({ object: { data } }) => data.reduce((sum, value) => sum + value, 0) / data.length);
const rows = METHOD_NAMES.flatMap((method) => {
  const own = MODELS.map((name) => cells[`${name} ${method}`]);
  if (own.every((cell) => cell === undefined)) return [];
  const options = Object.entries(FEWER[method] ?? {}).map(([key, value]) => `${key} ${value}`);
  const label = options.length > 0 ? `${method} (${options.join(', ')})` : method;
  return [`| ${label} | ${own.map((cell) => cell ?? '–').join(' | ')} |`];
});
const table = `${cases.length} cases where nothing else is said; of other methods as many as took ${values.budget} s. Brackets hold 95 %
intervals; – where the method does not apply.

| method | ${MODELS.join(' | ')} |
|---|---|---|
${rows.join('\n')}
| *center* | ${center} | ${center} |
| *random* | ${random} | ${random} |`;
console.log(table);
if (values.write) {
  const page = readFileSync(PAGE, 'utf8');
  const start = page.indexOf(BEGIN) + BEGIN.length;
  writeFileSync(PAGE, `${page.slice(0, start)}\n\n${table}\n\n${page.slice(page.indexOf(END, start))}`);
}
