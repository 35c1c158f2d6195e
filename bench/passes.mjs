#!/usr/bin/env node
/**
 * Writes the tables of docs/cost.md: how many forward passes, runs from a layer on, and gradients each method takes,
 * counted in the plans that the engine runs, and what they come to.
 *
 *   npm run build && node bench/passes.mjs [--measured bench.json]
 *   node bench/passes.mjs --inspect resnet50=resnet50.pt     # writes a model's inspection again
 *
 * ResNet50 and ViT-B/16 are known by their inspections in bench/passes/, since their archives do not come with the
 * package.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { readReport } from '../dist/bench/report.js';
import { parseExplainOptions } from '../dist/requests/explain-options.js';
import { recordExplanations, withLayers } from '../dist/requests/explain-plan.js';
import { METHOD_NAMES, Model } from '../dist/index.js';

import { recorder } from './passes/record.mjs';
import { modelTable, passTable, replaceSection } from './passes/table.mjs';

const { values } = parseArgs({
  options: { measured: { type: 'string' }, inspect: { type: 'string', multiple: true, default: [] } },
});
const inspectionFile = (/** @type {string} */ name) => new URL(`passes/${name}.json`, import.meta.url);

/** @param {string} archive @returns {Promise<import('../dist/engine/inspection.js').Inspection>} */
async function inspect(archive) {
  const model = await Model.load(archive, { device: 'cpu' });
  const { methods: _, ...inspection } = await model.inspect();
  await model.close();
  return inspection;
}

for (const asked of values.inspect) {
  const [name = '', archive = ''] = asked.split(/=(.*)/s);
  if (!/^\w+$/.test(name) || archive === '') throw new Error(`--inspect takes NAME=ARCHIVE, not ${asked}.`);
  const text = JSON.stringify(await inspect(archive), null, 1)
    .replace(/\n {3,}/g, ' ')
    .replace(/\n {2}\}/g, ' }')
    .replace(/\n {2}\]/g, ' ]');
  writeFileSync(inspectionFile(name), `${text}\n`);
  console.log(`wrote bench/passes/${name}.json`);
}

const report = values.measured === undefined ? null : await readReport(values.measured);
const known = (/** @type {string} */ name) => ({
  name,
  inspection: JSON.parse(readFileSync(inspectionFile(name), 'utf8')),
});
const shipped = async (/** @type {string} */ name) => ({ name, inspection: await inspect(name) });
const residual = [known('resnet50'), await shipped('resnet-tiny-shapes')];
const transformers = [known('vit_b_16'), await shipped('vit-tiny-shapes')];
const record = recorder({ parseExplainOptions, recordExplanations, withLayers });

const page = new URL('../docs/cost.md', import.meta.url);
let text = readFileSync(page, 'utf8');
text = replaceSection(text, 'models', modelTable([...residual, ...transformers]));
text = replaceSection(text, 'resnet50', passTable(residual, METHOD_NAMES, record, report));
text = replaceSection(text, 'vit_b_16', passTable(transformers, METHOD_NAMES, record, report));
writeFileSync(page, text);
console.log('wrote docs/cost.md');
