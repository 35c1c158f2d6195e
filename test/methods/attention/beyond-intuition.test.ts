import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../../lib/index.js';
import { loadSmall, pixelsOf, randomTensor } from '../../support/models.js';
import { expectRounded, nudged } from '../../support/rounding.js';
import { readSafetensors } from '../../support/safetensors.js';
import { imagesOf, loadSubject, mapAt, pictureOf, referenceOf, targetsOf } from './references.js';

/** What each map of test/parity/methods/beyond.py is called there, and what it is here. */
const MAPS: readonly (readonly [key: string, options: object])[] = [
  ['token', {}],
  ['token.last', { startBlock: -1 }],
  ['token.steps3', { steps: 3 }],
  ['head', { scaling: 'head' }],
  ['head.last', { scaling: 'head', startBlock: -1 }],
];

describe.each([
  'vit-tiny-shapes',
  'torchvision-vit-traced',
  'timm-vit-fused-traced',
  'timm-deit-distilled-traced',
  'timm-dinov2-registers-traced',
  'timm-vit-average-traced',
] as const)('%s', (subject) => {
  const made = referenceOf(subject);
  const reference = readSafetensors(new URL(`../../parity/methods/beyond-${subject}.safetensors`, import.meta.url));
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

  it.each(MAPS)('%s', async (key, options) => {
    const request = { method: 'beyond-intuition', ...options, size: 'grid', raw: true } as const;
    const explained = await model.explain(images, { ...request, targets } as never);
    expect(explained.length).toBe(reference.get(key)!.shape[0]);
    for (const [i, { maps }] of explained.entries()) {
      const expected = mapAt(reference.get(key)!, i);
      expect(maps[0]!.shape).toEqual(expected.shape);
      expect(Math.max(...expected.data)).toBeGreaterThan(1e-4);
      await expectRounded(maps[0]!.data, expected.data, `${subject} ${key}, image ${i}`, {
        model,
        promised: 1e-4,
        again: async (seed) => {
          const pixels = pictureOf(await pixelsOf(model, images.length === 1 ? images[0]! : images[i]!), i);
          const [again] = await model.explain(nudged(pixels, seed), { ...request, targets: targets[i]! } as never);
          return again!.maps[0]!.data;
        },
      });
    }
  });
});

describe('on a ViT of two blocks', () => {
  let model: Model;
  const image = randomTensor(1, 24, 40, 3);
  const mapBy = async (options: object): Promise<Float32Array> =>
    (await model.explain(image, { method: 'beyond-intuition', targets: [2], ...options } as never))[0]!.maps[0]!.data;

  beforeAll(async () => {
    model = await loadSmall('timm-vit-fused-traced');
  });
  afterAll(() => model.close());

  it('a preset that is overridden by name is what it sets', async () => {
    expect(await mapBy({ preset: 'chen-2023-head', startBlock: 1 })).toEqual(
      await mapBy({ scaling: 'head', startBlock: 1 }),
    );
    expect(await mapBy({ preset: 'chen-2023-token', startBlock: 0 })).toEqual(await mapBy({}));
  });

  it.each([
    [{ steps: 1 }, /^The option steps of beyond-intuition is wrong: a whole number from 2 to 100000 is expected\.$/],
    [{ scaling: 'both' }, /^The option scaling of beyond-intuition is wrong: 'token' or 'head' is expected\.$/],
    [{ preset: 'chen-2023-head' }, /^startBlock is 3, but the model has 2 attention blocks, numbered from 0/],
    [{ startBlock: 1, endBlock: 0 }, /^endBlock is 0, which lies before startBlock 1/],
    [{ row: 'patches' }, /^beyond-intuition has no option "row"/],
  ])('refuses %j', async (options, message) => {
    await expect(mapBy(options)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(message) as string,
    });
  });
});

it.each(['timm-swin-traced', 'torchvision-resnet-traced'])('refuses %s', async (archive) => {
  await using other = await loadSmall(archive);
  const [height, width] = archive.startsWith('timm') ? [24, 40] : [32, 48];
  await expect(other.explain(randomTensor(1, height, width), { method: 'beyond-intuition' })).rejects.toMatchObject({
    code: 'METHOD_NOT_APPLICABLE',
    message: expect.stringMatching(/^beyond-intuition cannot explain /) as string,
  });
});
