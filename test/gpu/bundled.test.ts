import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { Model, stats, type MethodName, type NamedOptions } from '../../lib/index.js';
import { pixelsOf } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

// TensorFloat-32 convolutions, LibTorch's default on CUDA, keep 10 bits of the mantissa: off, so that a wrong value
// shows.
process.env['NVIDIA_TF32_OVERRIDE'] = '0';

const IMAGES = ['000', '001', '002'].map((name) =>
  fileURLToPath(new URL(`../../models/eval/${name}.png`, import.meta.url)),
);
/**
 * Pixels that another device resizes are off by rounding before anything is computed of them: what the documentation
 * promises of a map, of its largest value.
 */
const RESIZED = 1e-4;

const CASES: [string, MethodName][] = [
  ['resnet-tiny-shapes', 'cam'],
  ['resnet-tiny-shapes', 'grad-cam'],
  ['vit-tiny-shapes', 'grad-cam'],
  ['vit-tiny-shapes', 'attention-rollout'],
  ['vit-tiny-shapes', 'gradient-rollout'],
  ['vit-tiny-shapes', 'gae'],
];

describe('the bundled models from file to map', () => {
  it.each(CASES)('%s, %s: CUDA gives what the CPU gives', async (name, method) => {
    await using onCpu = await Model.load(name, { device: 'cpu' });
    await using onCuda = await Model.load(name, { device: 'cuda' });
    expect(onCuda.device).toBe('cuda:0');
    const options = { method, targets: ['top2'], raw: true } as NamedOptions<MethodName>;
    const [expected, found] = [await onCpu.explain(IMAGES, options), await onCuda.explain(IMAGES, options)];
    for (const [i, { maps, predictions }] of expected.entries()) {
      expect(found[i]!.predictions[0]!.index).toBe(predictions[0]!.index);
      for (const [t, map] of maps.entries()) {
        await expectRounded(found[i]!.maps[t]!.data, map.data, `picture ${i}, target ${t}`, {
          model: onCpu,
          again: async (seed) => {
            const pixels = nudged(await pixelsOf(onCpu, IMAGES[i]!), seed);
            const targets = maps.map(({ target }) => target.index);
            return (await onCpu.explain(pixels, { ...options, targets }))[0]!.maps[t]!.data;
          },
          promised: RESIZED,
        });
      }
    }
  });

  it.each(['bf16', 'f16'] as const)('runs in %s', async (dtype) => {
    await using model = await Model.load('vit-tiny-shapes', { device: 'cuda', dtype });
    const [explained] = await model.explain(IMAGES[0]!, { method: 'gae' });
    expect(explained!.maps[0]!.state).toBe('ok');
  });

  it('refuses a GPU that is not there', async () => {
    await expect(Model.load('vit-tiny-shapes', { device: 'cuda:99' })).rejects.toMatchObject({
      code: 'DEVICE_UNAVAILABLE',
    });
  });

  it('frees its models', async () => {
    const model = await Model.load('vit-tiny-shapes', { device: 'auto' });
    expect(model.device).toBe('cuda:0');
    const { models } = stats();
    await model.close();
    expect(stats().models).toBe(models - 1);
  });
});
