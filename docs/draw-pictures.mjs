#!/usr/bin/env node
/**
 * Draws the picture of each method's page: what it says of one demo picture with two objects, by the shipped models
 * that it applies to. Methods that run the model hundreds of times come last, with fewer samples than their defaults.
 *
 *   npm run build && node docs/draw-pictures.mjs [METHOD...]
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { contactSheet, METHOD_NAMES, Model } from '../dist/index.js';

const IMAGE = fileURLToPath(new URL('../models/demo/star-and-hexagon.png', import.meta.url));
const CELL = 168;
/** @type {Record<string, object>} */
const FEWER = {
  occlusion: { window: 32, stride: 16 },
  'integrated-gradients': {},
  'expected-gradients': {},
  'blur-ig': {},
  'deeplift-shap': {},
  xrai: {},
  'kernel-shap': { samples: 200 },
  lime: { samples: 200 },
  rise: { masks: 400, score: 'probability' },
  'score-cam': { targets: ['top1'] },
  'is-cam': { steps: 3, targets: ['top1'] },
  'ss-cam': { samples: 2, targets: ['top1'] },
};
const asked = process.argv.slice(2);
const names = METHOD_NAMES.filter((name) => asked.length === 0 || asked.includes(name)).sort(
  (a, b) => Object.keys(FEWER).indexOf(a) - Object.keys(FEWER).indexOf(b),
);

const archives = ['resnet-tiny-shapes', 'vit-tiny-shapes'];
const models = await Promise.all(archives.map((archive) => Model.load(archive, { device: 'cpu' })));
const inspections = await Promise.all(models.map((model) => model.inspect()));
for (const name of names) {
  /** @type {import('../dist/index.js').SheetCell[][]} */
  const rows = [];
  /** @type {string[]} */
  const rowHeads = [];
  for (const [m, model] of models.entries()) {
    if (!inspections[m].methods.find((method) => method.name === name)?.applies) continue;
    const [explained] = await model.explain(IMAGE, { method: name, targets: ['top2'], ...FEWER[name] });
    const maps = explained.maps.filter(
      ({ data }, i) => i === 0 || data.some((value, at) => value !== explained.maps[0].data[at]),
    );
    const cells = await Promise.all(
      maps.map(async (map) => ({
        image: map.overlay({ width: CELL }),
        caption:
          maps.length > 1 || FEWER[name]
            ? `${map.target.label}${map.state === 'ok' ? '' : ` (${map.state})`}`
            : 'all classes',
      })),
    );
    rows.push([{ image: readFileSync(IMAGE), caption: 'image' }, ...cells]);
    rowHeads.push(archives[m].replace('-tiny-shapes', ''));
  }
  if (rows.length === 0) throw new Error(`${name} applies to neither shipped model.`);
  const sheet = await contactSheet(rows, { cellWidth: CELL, rowHeads });
  await (
    await sheet.sharp()
  )
    .png({ palette: true, quality: 90 })
    .toFile(fileURLToPath(new URL(`pictures/${name}.png`, import.meta.url)));
  console.error(name);
}
await Promise.all(models.map((model) => model.close()));
