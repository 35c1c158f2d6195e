#!/usr/bin/env node
/**
 * Draws the picture of maximize.md: what parts of the shipped models respond to most.
 *
 *   npm run build && node docs/draw-maximize.mjs
 */
import { fileURLToPath } from 'node:url';

import { contactSheet, Model } from '../dist/index.js';

const PARTS = {
  'resnet-tiny-shapes': [
    { node: 'layer1', channel: 11 },
    { node: 'layer2', channel: 17 },
    { node: 'layer3', channel: 6 },
    { class: 'dotted triangle' },
    { class: 'striped disc' },
  ],
  'vit-tiny-shapes': [
    { node: 'blocks.0', channel: 20 },
    { node: 'blocks.3', channel: 20 },
    { node: 'blocks.4.attn', head: 2, unit: { row: 5, column: 8 } },
    { class: 'dotted triangle' },
    { class: 'striped disc' },
  ],
};

/** @type {import('../dist/index.js').SheetCell[][]} */
const rows = [];
for (const [name, parts] of Object.entries(PARTS)) {
  const model = await Model.load(name, { device: 'cpu' });
  const row = [];
  for (const part of parts) {
    const { image, objective, activation, activations } = await model.maximize({ ...part, seed: 7 });
    row.push({
      image: image.picture(),
      caption: `${objective}: ${activations[0].activation.toPrecision(2)} to ${activation.toPrecision(3)}`,
    });
    console.error(`${name} ${objective}`);
  }
  rows.push(row);
  await model.close();
}
const sheet = await contactSheet(rows, {
  cellWidth: 168,
  rowHeads: Object.keys(PARTS).map((name) => name.replace('-tiny-shapes', '')),
});
await (
  await sheet.sharp()
)
  .png({ palette: true, quality: 90 })
  .toFile(fileURLToPath(new URL('pictures/maximize.png', import.meta.url)));
