// The package twice in one process: as an ES module and through require, as two instances, as two installations.
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import * as first from '../../../dist/index.js';
import { report, stage, tensor, VIT, VIT_OPTIONS } from './support.mjs';

const [what] = process.argv.slice(2);
const root = fileURLToPath(new URL('../../../', import.meta.url));

async function second() {
  if (what === 'require') return createRequire(import.meta.url)('../../../dist/index.cjs');
  // Another instance of the entry; what it imports is shared.
  if (what === 'instance') return import('../../../dist/index.js?again');
  // As npm does it where two packages depend on versions that do not agree.
  const folder = mkdtempSync(join(tmpdir(), 'sightline-copy-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const part of ['dist', 'package.json', 'models/labels']) {
    cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  cpSync(join(root, 'build/Release'), join(folder, `prebuilds/${process.platform}-${process.arch}`), {
    recursive: true,
  });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return import(join(folder, 'dist/index.js'));
}

async function maps({ Model }, closes) {
  const model = await Model.load(VIT, VIT_OPTIONS);
  const results = await model.explain(tensor(3, 24, 40), { method: 'gae', raw: true, size: 'grid' });
  if (closes) await model.close();
  return JSON.stringify(results.map((result) => [...result.maps[0].data]));
}

const mine = await maps(first, true);
stage('first');
const other = await second();
const theirs = await maps(other, false);
report({ same: mine === theirs, models: [first.stats().models, other.stats().models] });
// Both work at once when the process ends.
first.Model.load(VIT, VIT_OPTIONS).then((model) => model.explain(tensor(64, 24, 40), { method: 'gradient-rollout' }));
const model = await other.Model.load(VIT, VIT_OPTIONS);
model.explain(tensor(64, 24, 40), { method: 'gradient-rollout' }).catch(() => {});
stage('exiting');
setTimeout(() => process.exit(7), 10);
