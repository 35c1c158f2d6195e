#!/usr/bin/env node
/**
 * The pointing game for every class-specific method on the shipped models: the share of maps whose maximum lies in the
 * mask of the object asked for, on the held-out pictures with two objects, beside two baselines: the picture's centre,
 * and a place drawn at random.
 *
 *   npm run build && node bench/pointing.mjs [--json FILE] [--pictures N] [--model NAME] [METHOD...]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import sharp from 'sharp';

import { METHOD_NAMES, Model } from '../dist/index.js';
import { METHODS } from '../dist/methods/index.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, pictures: { type: 'string', default: '56' }, model: { type: 'string' } },
});
const folder = new URL('../models/eval/', import.meta.url);
/** @type {{ file: string, mask: string, objects: { index: number }[] }[]} */
const index = JSON.parse(readFileSync(new URL('index.json', folder), 'utf8'));
const pictures = index.filter(({ objects }) => objects.length === 2).slice(0, Number(values.pictures));
const pathOf = (/** @type {string} */ file) => fileURLToPath(new URL(file, folder));
const masks = await Promise.all(
  pictures.map(async ({ mask }) => {
    const { data, info } = await sharp(pathOf(mask))
      .removeAlpha()
      .toColourspace('b-w')
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { data, width: info.width, height: info.height, channels: info.channels };
  }),
);
/** Fewer samples than the methods' defaults where those would take hours on two cores; named in the table. */
const FEWER = {
  rise: { masks: 1000, score: 'probability' },
  'ss-cam': { samples: 8 },
  occlusion: { window: 32, stride: 8 },
};

/** @type {Record<string, { hits: number, cases: number, flat: number, seconds: number, options: object }>} */
const results = {};
for (const archive of ['resnet-tiny-shapes', 'vit-tiny-shapes'].filter(
  (name) => values.model === undefined || name === values.model,
)) {
  const model = await Model.load(archive, { device: 'cpu' });
  const { methods } = await model.inspect();
  for (const method of METHOD_NAMES) {
    if (positionals.length > 0 && !positionals.includes(method)) continue;
    if (!METHODS[method].isClassSpecific || !methods.find(({ name }) => name === method)?.applies) continue;
    const options = FEWER[method] ?? {};
    const start = performance.now();
    const explained = await model.explain(
      pictures.map(({ file }) => pathOf(file)),
      { method, ...options, targets: pictures.map(({ objects }) => objects.map((object) => object.index)) },
    );
    let hits = 0;
    let flat = 0;
    for (const [i, { maps }] of explained.entries()) {
      const { data, width, channels } = masks[i];
      for (const [o, map] of maps.entries()) {
        const { row, column } = map.peak();
        if (map.state !== 'ok') flat++;
        // The mask's grey value is the number of the object, from 1.
        else if (data[(row * width + column) * channels] === o + 1) hits++;
      }
    }
    results[`${archive} ${method}`] = {
      hits,
      cases: 2 * pictures.length,
      flat,
      seconds: Math.round((performance.now() - start) / 100) / 10,
      options,
    };
    console.error(`${archive} ${method}: ${hits} of ${2 * pictures.length}, ${flat} flat`);
  }
  await model.close();
}
const share = (/** @type {(mask: typeof masks[0], object: number) => number} */ hit) =>
  masks.reduce((sum, mask) => sum + hit(mask, 1) + hit(mask, 2), 0) / (2 * masks.length);
const baselines = {
  centre: share(({ data, width, height, channels }, object) =>
    Number(data[((height >> 1) * width + (width >> 1)) * channels] === object),
  ),
  // The chance of a place drawn evenly: the share of the picture that the object takes.
  random: share(
    ({ data, width, height, channels }, object) =>
      Array.from({ length: width * height }, (_, i) => Number(data[i * channels] === object)).reduce((a, b) => a + b) /
      (width * height),
  ),
};
const report = { pictures: pictures.length, baselines, results };
if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
const cell = (/** @type {string} */ key) =>
  results[key]
    ? `${((100 * results[key].hits) / results[key].cases).toFixed(1)} %${results[key].flat > 0 ? ` (${results[key].flat} flat)` : ''}`
    : '–';
console.log('| method | options | resnet-tiny-shapes | vit-tiny-shapes |\n|---|---|---|---|');
for (const method of METHOD_NAMES) {
  const keys = ['resnet-tiny-shapes', 'vit-tiny-shapes'].map((archive) => `${archive} ${method}`);
  const found = keys.find((key) => results[key]);
  if (!found) continue;
  const options = Object.entries(results[found].options)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
  console.log(`| ${method} | ${options} | ${cell(keys[0])} | ${cell(keys[1])} |`);
}
for (const [name, value] of Object.entries(baselines)) {
  console.log(`| *${name}* | | ${(100 * value).toFixed(1)} % | ${(100 * value).toFixed(1)} % |`);
}
