import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { axisBasis } from '../../../lib/methods/attention/upsampled-products.js';
import type { Model } from '../../../lib/index.js';
import { loadSmall, randomTensor } from '../../support/models.js';
import { expectRounded, expectUnlike, expectWithin, nudged, ROUNDOFF } from '../../support/rounding.js';
import { upsampled } from './upsampled.js';

describe('the basis in which products of grids are those of upsampled maps', () => {
  it.each([
    [
      [3, 5],
      [24, 40],
    ],
    [
      [4, 4],
      [4, 7],
    ],
    [
      [1, 2],
      [3, 2],
    ],
  ] as [[number, number], [number, number]][])('of %j places upsampled to %j', ([rows, columns], size) => {
    const grids = [2, 3].map((seed) => [...randomTensor(1, rows, columns, seed).data.subarray(0, rows * columns)]);
    const [ofRows, ofColumns] = [axisBasis(rows, size[0]), axisBasis(columns, size[1])];
    /** grid'[i][j] = sum over a, b of L[a][i] * grid[a][b] * M[b][j]. */
    const changed = (grid: number[], left: Float32Array, right: Float32Array): number[] =>
      grid.map((_, at) => {
        const [i, j] = [Math.floor(at / columns), at % columns];
        return grid.reduce(
          (sum, value, from) =>
            sum + left[Math.floor(from / columns) * rows + i]! * value * right[(from % columns) * columns + j]!,
          0,
        );
      });
    const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
    const [a, b] = grids as [number[], number[]];
    const [inBasisA, inBasisB] = [changed(a, ofRows.into, ofColumns.into), changed(b, ofRows.into, ofColumns.into)];
    const expected = dot(upsampled(a, [rows, columns], size), upsampled(b, [rows, columns], size));
    // The four matrices are rounded to float32; what that changes is a share of the same sums without their signs.
    const unsigned = (values: ArrayLike<number>): number[] => Array.from(values, Math.abs);
    const sizes = (grid: number[], by: 'into' | 'outOf'): number[] =>
      changed(unsigned(grid), ofRows[by].map(Math.abs), ofColumns[by].map(Math.abs));
    expectWithin([dot(inBasisA, inBasisB)], [expected], 4, dot(sizes(a, 'into'), sizes(b, 'into')));
    const back = sizes(sizes(a, 'into'), 'outOf');
    expectWithin(changed(inBasisA, ofRows.outOf, ofColumns.outOf), a, 4, (place) => back[place]!);
  });
});

describe('vit-cx by hand', () => {
  const SIZE = [24, 40] as const;
  const GRID = [3, 5] as const;
  const AREA = SIZE[0] * SIZE[1];
  const CLASS = 4;
  const image = randomTensor(1, ...SIZE, 9);
  let model: Model;
  beforeAll(async () => {
    model = await loadSmall('timm-vit-fused-traced');
  });
  afterAll(() => model.close());

  it('without noise and without merging, weighs each mask by the probability of what it shows', async () => {
    const layer = 'blocks.1.norm1';
    const { data: tokens, shape } = (await model.capture(image, { features: [layer] })).features[layer]!;
    const channels = shape.at(-1)!;
    const masks = Array.from({ length: channels }, (_, channel) => {
      const map = upsampled(
        Array.from({ length: 15 }, (_, patch) => tokens[(1 + patch) * channels + channel]!),
        GRID,
        SIZE,
      );
      const [low, high] = [Math.min(...map), Math.max(...map)];
      return map.map((value) => (value - low) / (high - low));
    });
    const masked = Float32Array.from(
      { length: channels * 3 * AREA },
      (_, at) => image.data[at % (3 * AREA)]! * masks[Math.floor(at / (3 * AREA))]![at % AREA]!,
    );
    const logits = await Promise.all(
      masks.map(async (_, i) => {
        const input = { data: masked.slice(i * 3 * AREA, (i + 1) * 3 * AREA), shape: [1, 3, ...SIZE] };
        return [...(await model.capture(input, { features: ['head'] })).features['head']!.data];
      }),
    );
    const probabilities = logits.map(
      (row) => Math.exp(row[CLASS]!) / row.reduce((sum, logit) => sum + Math.exp(logit), 0),
    );
    const expected = Array.from({ length: AREA }, (_, at) => {
      const cover = masks.reduce((sum, mask) => sum + mask[at]!, 0);
      return masks.reduce((sum, mask, i) => sum + (probabilities[i]! * mask[at]!) / cover, 0) / channels;
    });
    // So small a distance lies between no two masks.
    const map = async (seed = 0): Promise<Float32Array> =>
      (
        await model.explain(nudged(image, seed), {
          method: 'vit-cx',
          noise: 0,
          distanceThreshold: 1e-9,
          targets: [CLASS],
          raw: true,
        })
      )[0]!.maps[0]!.data;
    await expectRounded(await map(), expected, 'vit-cx', { model, again: map });
    expect(Math.max(...expected) - Math.min(...expected)).toBeGreaterThan(0.01 * Math.max(...expected));
  });

  it('merged into one mask, says the same of every place that the mask covers, and nothing of the others', async () => {
    const [merged] = await model.explain(image, {
      method: 'vit-cx',
      noise: 0,
      distanceThreshold: 1,
      targets: [CLASS],
      raw: true,
    });
    const { data, max } = merged!.maps[0]!;
    // Where the mask is above a thousandth, the epsilon of 1e-8 beside it takes away less than this share.
    const said = data.filter((value) => max - value <= (1e-8 / 1e-3 + 8 * ROUNDOFF) * max).length;
    const nothing = data.filter((value) => value === 0).length;
    expect(said).toBeGreaterThan(0.9 * data.length);
    expect(nothing).toBeGreaterThan(0);
    // Next to the mask's zero the epsilon of its division shows.
    expect(data.length - said - nothing).toBeLessThan(0.02 * data.length);
  });

  it('draws by seed', async () => {
    const of = async (seed: number): Promise<Float32Array> =>
      (await model.explain(image, { method: 'vit-cx', noise: 0.5, seed, targets: [CLASS] }))[0]!.maps[0]!.data;
    expect(await of(1)).toEqual(await of(1));
    await expectUnlike(await of(1), await of(2), 'the second seed', model);
  });
});
