import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../../lib/index.js';
import { loadSmall, pixelsOf, randomTensor } from '../../support/models.js';
import { expectRounded, nudged } from '../../support/rounding.js';
import { readSafetensors } from '../../support/safetensors.js';
import { imagesOf, loadSubject, mapAt, pictureOf, referenceOf, targetsOf } from './references.js';

/**
 * Each map of test/parity/methods/head_gradients.py with the preset that makes it. Grad-SAM is the mean over the
 * blocks, and the preset their sum.
 */
const MAPS = [
  ['grad-sam', 'barkan-2021-grad-sam'],
  ['gmar-l1', 'jo-2025-gmar-l1'],
  ['gmar-l2', 'jo-2025-gmar-l2'],
] as const;

describe.each([
  'vit-tiny-shapes',
  'torchvision-vit-traced',
  'timm-vit-fused-traced',
  'timm-deit-distilled-traced',
  'timm-dinov2-registers-traced',
  'timm-vit-average-traced',
] as const)('%s', (subject) => {
  const made = referenceOf(subject);
  const reference = readSafetensors(
    new URL(`../../parity/methods/head-gradients-${subject}.safetensors`, import.meta.url),
  );
  const images = imagesOf(made);
  const targets = targetsOf(made);
  let model: Model;

  beforeAll(async () => {
    model = await loadSubject(subject, made);
  });
  afterAll(() => model.close());

  it('is asked about every map', () => {
    expect([...reference.keys()].sort()).toEqual(MAPS.map(([key]) => key).sort());
  });

  it.each(MAPS)('%s', async (key, preset) => {
    const request = { method: 'gradient-rollout', preset, size: 'grid', raw: true } as const;
    const factor = key === 'grad-sam' ? (await model.inspect()).attention.length : 1;
    const explained = await model.explain(images, { ...request, targets });
    expect(explained.length).toBe(reference.get(key)!.shape[0]);
    for (const [i, { maps }] of explained.entries()) {
      const expected = mapAt(reference.get(key)!, i);
      expect(Math.max(...expected.data) - Math.min(...expected.data)).toBeGreaterThan(0);
      await expectRounded(
        maps[0]!.data,
        expected.data.map((value) => value * factor),
        `${subject} ${key}, image ${i}`,
        {
          model,
          promised: 1e-4,
          again: async (seed) => {
            const pixels = pictureOf(await pixelsOf(model, images.length === 1 ? images[0]! : images[i]!), i);
            const [again] = await model.explain(nudged(pixels, seed), { ...request, targets: targets[i]! });
            return again!.maps[0]!.data;
          },
        },
      );
    }
  });
});

describe('on a ViT of two blocks', () => {
  let model: Model;
  const mapBy = async (options: object): Promise<Float32Array> =>
    (await model.explain(randomTensor(1, 24, 40), { targets: [2], ...options } as never))[0]!.maps[0]!.data;

  beforeAll(async () => {
    model = await loadSmall('timm-vit-fused-traced');
  });
  afterAll(() => model.close());

  it('the presets are settings', async () => {
    const method = 'gradient-rollout';
    expect(await mapBy({ method, preset: 'jo-2025-gmar-l1' })).toEqual(
      await mapBy({ method, headFusion: 'gradient-l1' }),
    );
    expect(await mapBy({ method, preset: 'jo-2025-gmar-l2' })).toEqual(
      await mapBy({ method, headFusion: 'gradient-l2' }),
    );
    expect(await mapBy({ method, preset: 'barkan-2021-grad-sam' })).toEqual(
      await mapBy({ method, combine: 'sum', residualWeight: 0, rowNormalization: false, row: 'tokens' }),
    );
  });

  it.each([
    [{ method: 'gae', row: 'tokens' }, /^The option row of gae is wrong: give classifier, /],
    [
      { method: 'attention-rollout', row: 'tokens' },
      /^The option row of attention-rollout is wrong: give classifier, /,
    ],
    [
      { method: 'attention-rollout', headFusion: 'gradient-l1' },
      /^The option headFusion of attention-rollout is wrong/,
    ],
    [
      { method: 'gradient-rollout', row: 'all' },
      /^The option row of gradient-rollout is wrong: give classifier, .*tokens/,
    ],
    [{ method: 'gradient-rollout', headFusion: 'l1' }, /^The option headFusion of gradient-rollout is wrong: give /],
  ])('refuses %j', async (options, message) => {
    await expect(mapBy(options)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(message) as string,
    });
  });
});
