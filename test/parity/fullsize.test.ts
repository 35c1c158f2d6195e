import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type MethodName, type NamedOptions } from '../../lib/index.js';
import { readSafetensors, relativeDifference } from '../support/safetensors.js';
import { torchRand } from '../support/torch-random.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDER = new URL('./fullsize/', import.meta.url);
const MODELS: [name: string, pooled: string, maps: [string, NamedOptions<MethodName>, number][]][] = [
  ['torchvision-resnet50', 'fc', [['cam', { method: 'cam' }, 1e-5], ['grad-cam', { method: 'grad-cam' }, 1e-5]]],
  ...(['torchvision-vit-b-16', 'timm-vit-base-patch16-224'] as const).map(
    (name): [string, string, [string, NamedOptions<MethodName>, number][]] => [
      name,
      name.startsWith('timm') ? 'head' : 'heads',
      [
        ['grad-cam', { method: 'grad-cam' }, 1e-5],
        ['raw-attention', { method: 'raw-attention' }, 1e-5],
        ['attention-rollout', { method: 'attention-rollout' }, 1e-5],
        ['attention-rollout.min.0', { method: 'attention-rollout', headFusion: 'min' }, 1e-5],
        ['attention-rollout.start1', { method: 'attention-rollout', startBlock: 1 }, 1e-5],
        // Of 38,809 entries a block some lie within float32's rounding of the discarded ones: PyTorch's own float32 and
        // float64 maps differ by up to 9e-5 there (test/parity/README.md).
        ['attention-rollout.max.0.9', { method: 'attention-rollout', headFusion: 'max', discardRatio: 0.9 }, 5e-4],
        ['attention-rollout.mean.0.5', { method: 'attention-rollout', discardRatio: 0.5 }, 5e-4],
        ['gradient-rollout', { method: 'gradient-rollout' }, 1e-5],
        ['gae', { method: 'gae' }, 1e-5],
      ],
    ],
  ),
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
    execFileSync(join(ROOT, 'build', 'materialise'), [fileURLToPath(new URL(`${name}.pt`, FOLDER)), archive], { stdio: 'pipe' });
    model = await Model.load(archive, { device: 'cpu' });
  });
  afterAll(async () => {
    await model?.close();
    rmSync(archive, { force: true });
  });

  it('gives the logits of PyTorch', async () => {
    const { features } = await model.capture(input, { features: [pooled] });
    expect(relativeDifference(features[pooled]!.data, floats('logits'))).toBeLessThanOrEqual(1e-5);
  });

  it.each(maps)('%s', async (key, options, tolerance) => {
    const explained = await model.explain(input, { ...options, targets, size: 'grid', raw: true });
    const isClassSpecific = reference.has(`maps.${key}.${targets[0]}`);
    for (const [t, target] of targets.entries()) {
      const found = new Float32Array(explained.flatMap(({ maps: each }) => [...each[t]!.data]));
      expect(relativeDifference(found, floats(isClassSpecific ? `maps.${key}.${target}` : `maps.${key}`)), `${key} of class ${target}`).toBeLessThanOrEqual(tolerance);
    }
  });
});
