#!/usr/bin/env node
/**
 * Draws the picture of each method's page: what it says of one demo picture with two objects, by the shipped models that
 * it applies to.
 *
 *   npm run build && node docs/draw-pictures.mjs [METHOD...]
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { contactSheet, METHOD_NAMES, Model } from '../dist/index.js';

const IMAGE = fileURLToPath(new URL('../models/demo/star-and-hexagon.png', import.meta.url));
const CELL = 168;
/** Fewer samples than the defaults of methods that take minutes on a processor. */
const OPTIONS = { rise: { masks: 600, score: 'probability' }, 'ss-cam': { samples: 3 }, 'is-cam': { steps: 3 }, occlusion: { window: 32, stride: 16 } };
const asked = process.argv.slice(2);
const names = asked.length > 0 ? METHOD_NAMES.filter((name) => asked.includes(name)) : METHOD_NAMES;

/** @type {Record<string, import('../dist/index.js').SheetCell[][]>} */
const rows = Object.fromEntries(names.map((name) => [name, []]));
/** @type {Record<string, string[]>} */
const heads = Object.fromEntries(names.map((name) => [name, []]));
for (const archive of ['resnet-tiny-shapes', 'vit-tiny-shapes']) {
  const model = await Model.load(archive, { device: 'cpu' });
  const { methods } = await model.inspect();
  for (const name of names) {
    if (!methods.find((method) => method.name === name)?.applies) continue;
    const [explained] = await model.explain(IMAGE, { method: name, targets: ['top2'], ...OPTIONS[name] });
    const maps = explained.maps.filter(({ data }, i) => i === 0 || data.some((value, at) => value !== explained.maps[0].data[at]));
    const cells = await Promise.all(
      maps.map(async (map) => ({
        image: await map.overlay({ width: CELL }).toBuffer(),
        caption: maps.length > 1 ? `${map.target.label}${map.state === 'ok' ? '' : ` (${map.state})`}` : 'all classes',
      })),
    );
    rows[name].push([{ image: readFileSync(IMAGE), caption: 'image' }, ...cells]);
    heads[name].push(archive.replace('-tiny-shapes', ''));
    console.error(`${archive} ${name}`);
  }
  await model.close();
}
for (const name of names) {
  if (rows[name].length === 0) throw new Error(`${name} applies to neither shipped model.`);
  const sheet = await contactSheet(rows[name], { cellWidth: CELL, rowHeads: heads[name] });
  await sheet.png({ palette: true, quality: 90 }).toFile(fileURLToPath(new URL(`pictures/${name}.png`, import.meta.url)));
}
