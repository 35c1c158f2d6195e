/** XRAI against PAIR's package and scikit-image's segments, and its regions by hand. */
import { fileURLToPath } from 'node:url';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { defineMethod, Model, symbolic } from '../../../lib/index.js';
import { randomTensor } from '../../support/models.js';
import { expectRounded, expectWithin, nudged } from '../../support/rounding.js';
import { numbersOf, readSafetensors } from '../../support/safetensors.js';
import { explainWith, loadNet, NET, weights } from './support.js';

const SIDE = 224;
const STEPS = 6;
const SCALES = [50, 100, 150, 250, 500, 1200];
/** File, left and upper edge of the crop, as test/parity/methods/xrai.py has them. */
const PHOTOS = [
  ['demo/photos/cat.jpg', 40, 20],
  ['demo/photos/coffee.jpg', 180, 60],
] as const;
const PICTURES = [
  ['eval/000.png', 0, 0],
  ['eval/002.png', 0, 0],
] as const;

/** The crop, as the model gets it. */
async function cropped(model: Model, [file, left, top]: readonly [string, number, number]) {
  const path = fileURLToPath(new URL(`../../../models/${file}`, import.meta.url));
  const pixels = await sharp(path).extract({ left, top, width: SIDE, height: SIDE }).removeAlpha().raw().toBuffer();
  const { mean, std } = model.card.input;
  const data = Float32Array.from({ length: 3 * SIDE * SIDE }, (_, i) => {
    const channel = Math.floor(i / (SIDE * SIDE));
    return (pixels[(i % (SIDE * SIDE)) * 3 + channel]! / 255 - mean[channel]!) / std[channel]!;
  });
  return { data, shape: [1, 3, SIDE, SIDE] };
}

interface Segmenting {
  readonly scales: readonly number[];
  readonly smallest: number;
}

/** [-1, 1] of each image, as xrai compares colors. */
const compared = (model: symbolic.SymbolicModel): symbolic.Value => {
  const { mean, std } = model.normalization;
  const table = (values: readonly number[]): symbolic.Value =>
    symbolic.constant(model.image, Float32Array.from(values), { channels: values.length });
  return symbolic
    .scaleToUnit(model.image.mul(table(std)).add(table(mean)))
    .mul(2)
    .sub(1);
};

/** The labels of one scale of several, each from 0 on, and how many there are in all. */
const labelsOf = ({ scales, smallest }: Segmenting, at: number) =>
  defineMethod({
    name: 'test-segments',
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific: false,
    reasonAgainst: () => null,
    map: ({ model }) => {
      const { labels, count } = symbolic.felzenszwalb(compared(model), { scales, smallest, sigma: 0.8 });
      const own = symbolic.select(labels, 'scales', at);
      return { map: own.sub(symbolic.lowest(own)), figures: { count } };
    },
  });

const rankingOf = (segmenting: Segmenting, ranking: symbolic.RegionRanking) =>
  defineMethod({
    name: 'test-ranking',
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific: false,
    reasonAgainst: () => null,
    map: ({ model }) => {
      const { labels } = symbolic.felzenszwalb(compared(model), { ...segmenting, sigma: 0.8 });
      const { mean, std } = model.normalization;
      const weights = [1, -0.5, -0.25];
      const colors = symbolic.sum(
        model.image.mul(
          symbolic.constant(
            model.image,
            Float32Array.from(weights, (weight, i) => weight * std[i]!),
            { channels: 3 },
          ),
        ),
        'channels',
      );
      const offset = weights.reduce((sum, weight, i) => sum + weight * mean[i]!, 0);
      return symbolic.rankRegions(colors.add(offset), labels, ranking);
    },
  });

const sampled = (map: ArrayLike<number>): number[] => {
  const values = [];
  for (let row = 3; row < SIDE; row += 7) {
    for (let column = 3; column < SIDE; column += 7) values.push(map[row * SIDE + column]!);
  }
  return values;
};

describe.each([
  ['efficientnet-lite0', PHOTOS],
  ['vit-tiny-shapes', PICTURES],
  ['resnet-tiny-shapes', PICTURES],
] as const)('%s', (name, files) => {
  const reference = readSafetensors(new URL(`../../parity/methods/xrai-${name}.safetensors`, import.meta.url));
  let model: Model;
  let images: { data: Float32Array; shape: number[] }[];

  beforeAll(async () => {
    model = await Model.load(name, { device: 'cpu', optimize: false });
    images = await Promise.all(files.map((file) => cropped(model, file)));
  });
  afterAll(() => model.close());

  const rowsOf = (key: string, image: number): number[] => {
    const values = numbersOf(reference.get(key)!);
    return values.slice((image * values.length) / 2, ((image + 1) * values.length) / 2);
  };

  it.each([
    ['segments', { scales: SCALES, smallest: 150 }],
    ['segments.fine', { scales: [10, 80], smallest: 20 }],
  ] as const)('%s are those of scikit-image', async (key, segmenting) => {
    for (const [i, image] of images.entries()) {
      const theirs = rowsOf(key, i);
      const counts = rowsOf(`${key}.count`, i);
      for (const at of segmenting.scales.keys()) {
        const [explained] = await model.explain(image, { method: labelsOf(segmenting, at), raw: true });
        const map = explained!.maps[0]!;
        expect(map.figures['count']).toBe(counts.reduce((sum, count) => sum + count, 0));
        expect(map.max).toBe(counts[at]! - 1);
        const size = theirs.length / segmenting.scales.length;
        expect(sampled(map.data)).toEqual(theirs.slice(at * size, (at + 1) * size));
      }
    }
  });

  it.each([
    ['ranking.full', { scales: SCALES, smallest: 150 }, { dilation: 5, leastAdded: 50, area: 1, isFast: false }],
    ['ranking.fast', { scales: SCALES, smallest: 150 }, { dilation: 5, leastAdded: 50, area: 1, isFast: true }],
    ['ranking.part', { scales: [100, 500], smallest: 150 }, { dilation: 2, leastAdded: 1, area: 0.3, isFast: false }],
  ] as const)('%s is that of PAIR', async (key, segmenting, ranking) => {
    for (const [i, image] of images.entries()) {
      const [explained] = await model.explain(image, { method: rankingOf(segmenting, ranking), raw: true });
      const { data, min, max } = explained!.maps[0]!;
      // A color is made of three products and two sums, there and here, and a mean is rounded once.
      expectWithin([...sampled(data), min, max], [...rowsOf(key, i), ...rowsOf(`${key}.range`, i)], 14, 2);
    }
  });

  it.each([
    ['xrai.fine', { steps: STEPS, smallest: 20, leastAdded: 1, channels: 'sum' }],
    ['xrai.pair', { steps: STEPS, compat: 'pair' }],
  ] as const)('%s', async (key, options) => {
    const targets = numbersOf(reference.get('targets')!);
    for (const [i, image] of images.entries()) {
      const valuesOf = async (seed: number): Promise<number[]> => {
        const [explained] = await explainWith(model, nudged(image, seed), 'xrai', options, { targets: [targets[i]!] });
        const { data, min, max } = explained!.maps[0]!;
        return [...sampled(data), min, max];
      };
      const theirs = [...rowsOf(key, i), ...rowsOf(`${key}.range`, i)];
      await expectRounded(await valuesOf(0), theirs, `${name} ${key}, image ${i}`, {
        model,
        again: valuesOf,
        promised: 1e-4,
      });
    }
  });
});

describe('by hand, on a linear model', () => {
  const { classes, channels, height, width } = NET;
  const area = height * width;
  const w = weights(classes * channels * area).slice(3 * channels * area, 4 * channels * area);
  /** The left half is darker than the right: two segments at a scale that leaves room for what smoothing spreads. */
  const image = {
    data: Float32Array.from(
      { length: channels * area },
      (_, i) => (i % width < width / 2 ? 0.125 : 0.75) + (i % 7) / 1024,
    ),
    shape: [1, channels, height, width],
  };
  const isLeft = (place: number): boolean => place % width < width / 2;
  let model: Model;
  beforeAll(async () => {
    model = await loadNet('linear');
  });
  afterAll(() => model.close());

  const explainBy = async (options: Record<string, unknown>) =>
    (await explainWith(model, image, 'xrai', options, { targets: [3], size: 'grid' }))[0]!.maps[0]!;
  /** What a pixel is attributed: its weights times how far it is from the mean of both baselines. */
  const attributed = (place: number): number =>
    [0, 1, 2].reduce(
      (sum, channel) => sum + w[channel * area + place]! * (image.data[channel * area + place]! - 0.5),
      0,
    );
  const meanOf = (places: readonly number[]): number =>
    places.reduce((sum, place) => sum + attributed(place), 0) / places.length;
  const all = Array.from({ length: area }, (_, place) => place);
  /** Two baselines of one step each, three colors, and the mean of a region. */
  const ROUNDINGS = 12;
  const SIZE = 3 * 3;

  it('each region has the mean of its integrated gradients, which are complete', async () => {
    const map = await explainBy({ steps: 1, scales: [1600], smallest: 2, leastAdded: 1, dilation: 0, channels: 'sum' });
    const [left, right] = [meanOf(all.filter(isLeft)), meanOf(all.filter((place) => !isLeft(place)))];
    expect(Math.abs(left - right)).toBeGreaterThan(0.1);
    expectWithin(
      map.data,
      all.map((place) => (isLeft(place) ? left : right)),
      ROUNDINGS,
      SIZE,
    );
    expect(Math.abs(map.figures['completenessError']!)).toBeLessThanOrEqual(2 * channels * area * 2 ** -24 * 30);
  });

  it('a scale that makes one segment gives the mean of all', async () => {
    const { data, state } = await explainBy({ steps: 1, scales: [1e6], dilation: 0, channels: 'sum' });
    expectWithin(
      data,
      all.map(() => meanOf(all)),
      ROUNDINGS,
      SIZE,
    );
    expect(state).toBe('flat');
  });

  it('a widened region takes the edge of the other', async () => {
    const { data } = await explainBy({
      steps: 1,
      scales: [1600],
      smallest: 2,
      leastAdded: 1,
      dilation: 1,
      channels: 'sum',
    });
    const wide = (isOwn: (place: number) => boolean, column: number) =>
      all.filter((place) => isOwn(place) || place % width === column);
    const [left, right] = [wide(isLeft, 3), wide((place) => !isLeft(place), 2)];
    const first = meanOf(left) > meanOf(right) ? left : right;
    const rest = all.filter((place) => !first.includes(place));
    expectWithin(
      data,
      all.map((place) => meanOf(first.includes(place) ? first : rest)),
      ROUNDINGS,
      SIZE,
    );
  });

  it.each([
    [{ scales: [] }, /^The option scales of xrai is wrong: a list of 1 to 16 numbers above 0 is expected\.$/],
    [{ scales: [50, 0] }, /scales.* of xrai is wrong: a list of 1 to 16 numbers above 0/],
    [{ scales: 'superpixels' }, /^The option scales of xrai is wrong: a list of 1 to 16 numbers above 0/],
    [{ baselines: [] }, /^The option baselines of xrai is wrong: 'range', or a list of 'zero'/],
    [{ baselines: 'black' }, /^The option baselines of xrai is wrong: 'range', or a list of 'zero'/],
    [{ baselines: [[0, 0]] }, /^The baseline has 2 numbers, but the model's images have 3 channels/],
    [{ areaThreshold: 0 }, /areaThreshold of xrai is wrong: a number above 0 and at most 1 is expected\.$/],
    [{ steps: 4097 }, /steps of xrai is wrong: a whole number from 1 to 4096 is expected\.$/],
    [{ dilation: -1 }, /dilation of xrai is wrong: a whole number from 0 to 64 is expected\.$/],
    [{ algorithm: 'faster' }, /algorithm of xrai is wrong: 'full' or 'fast' is expected\.$/],
  ] as const)('refuses %j', async (options, message) => {
    await expect(model.explain(image, { method: 'xrai', ...options } as never)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(message) as string,
    });
  });

  it.each([
    [
      { algorithm: 'fast', areaThreshold: 0.5 },
      'INVALID_OPTION',
      /^The fast algorithm of xrai ranks all regions, so areaThreshold would do nothing; leave it out, or choose algorithm: 'full'\.$/,
    ],
    [
      { compat: 'pair' },
      'METHOD_NOT_APPLICABLE',
      /xrai as pair has it cuts images of 224 x 224 pixels into segments, not of 4 x 6 as this model takes; leave out `compat`\.$/,
    ],
  ] as const)('refuses %j', async (options, code, message) => {
    await expect(model.explain(image, { method: 'xrai', ...options } as never)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
  });

  it('refuses one step where both ends of the line are asked for', async () => {
    await using shipped = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
    await expect(
      shipped.explain(randomTensor(1, SIDE, SIDE), { method: 'xrai', compat: 'pair', steps: 1 }),
    ).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: 'xrai as pair has it takes the gradient at both ends of the line; give at least 2 steps, not 1.',
    });
  });

  it('refuses an image that is not finite', async () => {
    const data = image.data.slice();
    data[5] = NaN;
    await expect(model.explain({ ...image, data }, { method: 'xrai', steps: 1 })).rejects.toMatchObject({
      message: expect.stringMatching(/not finite|NaN/) as string,
    });
  });
});
