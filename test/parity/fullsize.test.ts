import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, it } from 'vitest';

import { Model, type MethodName, type NamedOptions } from '../../lib/index.js';
import { expectRounded, nudged } from '../support/rounding.js';
import { readSafetensors } from '../support/safetensors.js';
import { torchRand } from '../support/torch-random.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDER = new URL('./fullsize/', import.meta.url);
/** What the README promises. */
const PROMISED = 1e-5;

const OF_RESNET: readonly [string, NamedOptions<MethodName>][] = [
  ['cam', { method: 'cam' }],
  ['grad-cam', { method: 'grad-cam' }],
];
const OF_VIT: readonly [string, NamedOptions<MethodName>][] = [
  ['grad-cam', { method: 'grad-cam' }],
  ['raw-attention', { method: 'raw-attention' }],
  ['attention-rollout', { method: 'attention-rollout' }],
  ['attention-rollout.min.0', { method: 'attention-rollout', headFusion: 'min' }],
  ['attention-rollout.start1', { method: 'attention-rollout', startBlock: 1 }],
  // Of 38,809 entries a block some lie within float32's rounding of the discarded ones: these maps are ill-conditioned.
  ['attention-rollout.max.0.9', { method: 'attention-rollout', headFusion: 'max', discardRatio: 0.9 }],
  ['attention-rollout.mean.0.5', { method: 'attention-rollout', discardRatio: 0.5 }],
  ['gradient-rollout', { method: 'gradient-rollout' }],
  ['gae', { method: 'gae' }],
];
const MODELS: readonly [name: string, pooled: string, maps: typeof OF_VIT][] = [
  ['torchvision-resnet50', 'fc', OF_RESNET],
  ['torchvision-vit-b-16', 'heads', OF_VIT],
  ['timm-vit-base-patch16-224', 'head', OF_VIT],
];

const folder = mkdtempSync(join(tmpdir(), 'sightline-fullsize-'));

// The skeletons hold no weights: a small program fills them by the rule of fullsize.py, bit for bit.
beforeAll(() => {
  const options = { cwd: ROOT, stdio: 'pipe' } as const;
  execFileSync('cmake', ['-S', '.', '-B', 'build', '-DSIGHTLINE_BUILD_TESTS=ON'], options);
  execFileSync('cmake', ['--build', 'build', '--target', 'materialise'], options);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(MODELS)('%s at full size', (name, pooled, maps) => {
  const reference = readSafetensors(new URL(`${name}.safetensors`, FOLDER));
  const floats = (key: string): Float32Array => reference.get(key)!.data as Float32Array;
  const targets = Array.from(reference.get('targets')!.data, Number);
  const shape = [2, 3, 224, 224];
  const input = { data: torchRand(7, 2 * 3 * 224 * 224).map((value) => value * 4 - 2), shape };
  const archive = join(folder, `${name}.pt`);
  let model: Model;

  beforeAll(async () => {
    execFileSync(join(ROOT, 'build', 'materialise'), [fileURLToPath(new URL(`${name}.pt`, FOLDER)), archive], {
      stdio: 'pipe',
    });
    model = await Model.load(archive, { device: 'cpu' });
  });
  afterAll(async () => {
    await model?.close();
    rmSync(archive, { force: true });
  });

  it('gives the logits of PyTorch', async () => {
    const logits = async (seed = 0): Promise<ArrayLike<number>> =>
      (await model.capture(nudged(input, seed), { features: [pooled] })).features[pooled]!.data;
    await expectRounded(await logits(), floats('logits'), 'logits', { model, promised: PROMISED, again: logits });
  });

  it.each(maps)('%s', async (key, options) => {
    const explain = (seed = 0) => model.explain(nudged(input, seed), { ...options, targets, size: 'grid', raw: true });
    const explained = await explain();
    const isClassSpecific = reference.has(`maps.${key}.${targets[0]}`);
    for (const [t, target] of targets.entries()) {
      const mapsOf = (of: typeof explained): number[] => of.flatMap(({ maps: each }) => [...each[t]!.data]);
      const expected = floats(isClassSpecific ? `maps.${key}.${target}` : `maps.${key}`);
      await expectRounded(mapsOf(explained), expected, `${key} of class ${target}`, {
        model,
        promised: PROMISED,
        again: async (seed) => mapsOf(await explain(seed)),
      });
    }
  });
});
