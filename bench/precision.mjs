#!/usr/bin/env node
/**
 * How far a map changes when the model runs in bf16 or f16: Spearman's rank correlation to the f32 map, for every
 * method on the shipped models, over held-out pictures; median and worst of them. Places are those of the method's own
 * grid.
 *
 *   npm run build && node bench/precision.mjs [--pictures 8] [--dtype bf16] [--json FILE] [METHOD...]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { METHOD_NAMES, Model } from '../dist/index.js';
import { rankCorrelation } from './peers/statistics.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    pictures: { type: 'string', default: '8' },
    dtype: { type: 'string', default: 'bf16' },
    size: { type: 'string', default: 'image' },
  },
});
const folder = new URL('../models/eval/', import.meta.url);
/** @type {{ file: string, objects: { index: number }[] }[]} */
const index = JSON.parse(readFileSync(new URL('index.json', folder), 'utf8'));
const pictures = index.slice(0, Number(values.pictures));
const paths = pictures.map(({ file }) => fileURLToPath(new URL(file, folder)));
const targets = pictures.map(({ objects }) => [objects[0].index]);
const FEWER = { rise: { masks: 200 }, 'ss-cam': { samples: 3 }, occlusion: { window: 32, stride: 16 } };

/** @type {Record<string, { median: number, worst: number, maps: number, flat: number }>} */
const results = {};
for (const archive of ['resnet-tiny-shapes', 'vit-tiny-shapes']) {
  const [exact, reduced] = await Promise.all(
    ['f32', values.dtype].map((dtype) => Model.load(archive, { device: 'cpu', dtype })),
  );
  const { methods } = await exact.inspect();
  for (const method of METHOD_NAMES) {
    if (positionals.length > 0 && !positionals.includes(method)) continue;
    if (!methods.find(({ name }) => name === method)?.applies) continue;
    const options = { method, ...FEWER[method], targets, size: values.size, raw: true };
    const [a, b] = [await exact.explain(paths, options), await reduced.explain(paths, options)];
    const found = a.flatMap(({ maps }, i) =>
      maps.map((map, m) =>
        map.state === 'flat' || b[i].maps[m].state === 'flat' ? NaN : rankCorrelation(map.data, b[i].maps[m].data),
      ),
    );
    const sound = found.filter((value) => !Number.isNaN(value)).sort((x, y) => x - y);
    results[`${archive} ${method}`] = {
      median: sound[sound.length >> 1] ?? NaN,
      worst: sound[0] ?? NaN,
      maps: found.length,
      flat: found.length - sound.length,
    };
    console.error(`${archive} ${method}: ${sound.map((value) => value.toFixed(3)).join(' ')}`);
  }
  await Promise.all([exact.close(), reduced.close()]);
}
if (values.json) {
  writeFileSync(
    values.json,
    `${JSON.stringify({ dtype: values.dtype, pictures: pictures.length, size: values.size, results }, null, 2)}\n`,
  );
}
const cell = (/** @type {string} */ key) =>
  results[key] ? `${results[key].median.toFixed(4)} / ${results[key].worst.toFixed(4)}` : '–';
console.log('| method | resnet-tiny-shapes | vit-tiny-shapes |\n|---|---|---|');
for (const method of METHOD_NAMES) {
  const keys = ['resnet-tiny-shapes', 'vit-tiny-shapes'].map((archive) => `${archive} ${method}`);
  if (keys.some((key) => results[key])) console.log(`| ${method} | ${cell(keys[0])} | ${cell(keys[1])} |`);
}
