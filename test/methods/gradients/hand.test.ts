import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../../lib/index.js';
import { torchRand } from '../../support/torch-random.js';
import { randomTensor } from '../../support/models.js';
import { expectWithin as expectMap, ROUNDOFF } from '../../support/rounding.js';
import { explainWith, loadNet, NET, weights, type GradientMethod } from './support.js';

const { classes, channels, height, width, hidden } = NET;
const area = height * width;
const CLASS = 3;
const image = randomTensor(1, height, width, 5);
const pixel = (channel: number, place: number): number => image.data[channel * area + place]!;

/** A map [height, width] of what `at` says of each place. */
const mapOf = (at: (place: number) => number): number[] => Array.from({ length: area }, (_, place) => at(place));
const overColours = (of: (channel: number) => number): number =>
  [0, 1, 2].reduce((sum, channel) => sum + of(channel), 0);

async function mapBy(
  model: Model,
  method: GradientMethod,
  options: Record<string, unknown> = {},
): Promise<{ data: Float32Array; figures: Readonly<Record<string, number>>; state: string }> {
  const [explained] = await explainWith(model, image, method, options, { targets: [CLASS], size: 'grid' });
  return explained!.maps[0]!;
}

const largest = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
/** A score sums so many products. */
const TERMS = channels * area;

describe('a linear model, whose gradient is its weights', () => {
  let model: Model;
  const w = weights(classes * channels * area).slice(CLASS * TERMS, (CLASS + 1) * TERMS);
  const weight = (channel: number, place: number): number => w[channel * area + place]!;
  /** What the products of a score add up to without their signs, where pixels are at most so much larger. */
  const whole = (more: number): number =>
    w.reduce((sum, value, i) => sum + Math.abs(value) * (Math.abs(image.data[i]!) + more), 0);
  const [heaviest, brightest] = [largest(w), largest(image.data)];

  beforeAll(async () => {
    model = await loadNet('linear');
  });
  afterAll(() => model.close());

  it.each([
    ['max-abs', (values: number[]) => Math.max(...values.map(Math.abs))],
    ['sum-abs', (values: number[]) => values.reduce((sum, value) => sum + Math.abs(value), 0)],
    ['mean-abs', (values: number[]) => values.reduce((sum, value) => sum + Math.abs(value), 0) / channels],
    ['sum', (values: number[]) => values.reduce((sum, value) => sum + value, 0)],
    ['mean', (values: number[]) => values.reduce((sum, value) => sum + value, 0) / channels],
    ['max', (values: number[]) => Math.max(...values)],
    ['min', (values: number[]) => Math.min(...values)],
  ] as const)('gradient, channels %s', async (name, reduce) => {
    const expected = mapOf((place) => reduce([0, 1, 2].map((channel) => weight(channel, place))));
    // The colours are added up and divided.
    expectMap((await mapBy(model, 'gradient', { channels: name })).data, expected, channels + 1, channels * heaviest);
    // No noise changes a constant gradient; three samples are added up and divided before.
    const smooth = await mapBy(model, 'smooth-grad', { channels: name, samples: 3, noise: 0.5 });
    expectMap(smooth.data, expected, channels + 1 + 4, channels * heaviest);
  });

  it('input times gradient', async () => {
    expectMap(
      (await mapBy(model, 'input-x-gradient')).data,
      mapOf((place) => overColours((channel) => pixel(channel, place) * weight(channel, place))),
      channels + 1, // a product, and the sum of the colours
      channels * heaviest * brightest,
    );
  });

  it('VarGrad is flat: a constant gradient has no variance', async () => {
    const { data, state } = await mapBy(model, 'var-grad', { samples: 4 });
    // But for the square of what the mean of four gradients rounds, in each colour.
    expect(Math.max(...data)).toBeLessThanOrEqual(channels * (5 * ROUNDOFF * heaviest) ** 2);
    expect(state).toBe('flat');
  });

  it.each([
    ['gauss-legendre', 1],
    ['trapezoid', 2],
    ['left', 1],
    ['middle', 3],
  ])('integrated gradients are exact by %s with %i steps, from any baseline', async (rule, steps) => {
    const baseline = [0.25, -1, 2];
    const { data, figures } = await mapBy(model, 'integrated-gradients', { quadrature: rule, steps, baseline });
    expectMap(
      data,
      mapOf((place) => overColours((channel) => (pixel(channel, place) - baseline[channel]!) * weight(channel, place))),
      2 * steps + channels + 3, // a product and a sum each step, a difference, a product, the sum of the colours
      channels * heaviest * (brightest + 2),
    );
    // Three sums of as many products: the map's and two scores.
    const rounding = 3 * TERMS * ROUNDOFF * whole(2);
    const gain = w.reduce((sum, value, i) => sum + value * (image.data[i]! - baseline[Math.floor(i / area)]!), 0);
    expect(Math.abs(figures['completenessError']!)).toBeLessThanOrEqual(rounding);
    expect(figures['relativeCompletenessError']!).toBeLessThanOrEqual(rounding / Math.abs(gain));
  });

  it('expected gradients are exact, whatever the draws but for the baselines', async () => {
    const baselines = [0.25, [0.25, -1, 2], 'zero'];
    const colors = [
      [0.25, 0.25, 0.25],
      [0.25, -1, 2],
      [0, 0, 0],
    ] as const;
    const [samples, seed] = [7, 3];
    const drawn = Array.from({ length: samples }, (_, i) => Math.floor(torchRand(seed * 1000003 + i, 2)[1]! * 3));
    expect(new Set(drawn).size).toBe(3);
    const average = (channel: number): number =>
      drawn.reduce((sum, one) => sum + colors[one as 0 | 1 | 2][channel]!, 0) / samples;
    const { data, figures } = await mapBy(model, 'expected-gradients', { samples, seed, baselines });
    expectMap(
      data,
      mapOf((place) => overColours((channel) => (pixel(channel, place) - average(channel)) * weight(channel, place))),
      2 * samples + channels + 3, // a product and a sum each sample, a difference, the mean, the sum of the colours
      channels * heaviest * (brightest + 2),
    );
    // The map's sum of products, and two scores, one of them a mean of scores.
    expect(Math.abs(figures['completenessError']!)).toBeLessThanOrEqual(
      (3 * TERMS + 2 * samples) * ROUNDOFF * whole(2),
    );
  });

  it.each([
    ['mean', 'clip'],
    ['sum', 'clip'],
    ['mean', 'inside'],
    ['sum', 'inside'],
  ])('occlusion, %s of windows at edge %s', async (overlap, edge) => {
    // Windows of 2 x 3 every 2 x 2: down, the third row of windows would begin at row 4; across, the last one is cut.
    const [window, stride, colour] = [[2, 3], [2, 2], 0.5] as const;
    const starts = (length: number, axis: 0 | 1): number[] => {
      const count = (edge === 'clip' ? Math.ceil : Math.floor)((length - window[axis]) / stride[axis]) + 1;
      return Array.from({ length: count }, (_, i) => i * stride[axis]);
    };
    const fall = new Array<number>(area).fill(0);
    const covering = new Array<number>(area).fill(0);
    for (const top of starts(height, 0)) {
      for (const left of starts(width, 1)) {
        const inside = mapOf((place) => place).filter((place) => {
          const [row, column] = [Math.floor(place / width), place % width];
          return row >= top && row < top + window[0] && column >= left && column < left + window[1];
        });
        const drop = inside.reduce(
          (sum, place) => sum + overColours((channel) => (pixel(channel, place) - colour) * weight(channel, place)),
          0,
        );
        for (const place of inside) {
          fall[place]! += drop;
          covering[place]!++;
        }
      }
    }
    const expected = overlap === 'sum' ? fall : fall.map((sum, place) => sum / Math.max(covering[place]!, 1));
    const { data } = await mapBy(model, 'occlusion', { window, stride, baseline: colour, overlap, edge });
    // Each fall is the difference of two scores, and a place adds up those that cover it.
    expectMap(data, expected, TERMS + 2, (place) => 2 * Math.max(covering[place]!, 1) * whole(colour));
    expect(Math.min(...covering)).toBe(edge === 'clip' ? 1 : 0);
  });

  it('RISE of one mask is the score where it shows the image, and 0 elsewhere', async () => {
    const cells = [2, 3] as const;
    const drawn = torchRand(0, cells[0] * cells[1] + 2);
    const cell = [height / cells[0], width / cells[1]] as const;
    // Bilinear from `length` cells to one cell more than the image holds, at half-pixel centres, then cut.
    const weightsOf = (axis: 0 | 1, at: number): number[] => {
      const offset = Math.floor(drawn[cells[0] * cells[1] + axis]! * cell[axis]);
      const enlarged = (cells[axis] + 1) * cell[axis];
      const source = Math.min(Math.max(((at + offset + 0.5) * cells[axis]) / enlarged - 0.5, 0), cells[axis] - 1);
      return Array.from({ length: cells[axis] }, (_, i) => Math.max(0, 1 - Math.abs(source - i)));
    };
    const mask = mapOf((place) => {
      const [down, across] = [weightsOf(0, Math.floor(place / width)), weightsOf(1, place % width)];
      return down.reduce(
        (sum, a, i) => sum + across.reduce((row, b, j) => row + (drawn[i * cells[1] + j]! < 0.5 ? a * b : 0), 0),
        0,
      );
    });
    const bias = weights(classes)[CLASS]!;
    const score = mapOf((place) =>
      overColours((channel) => mask[place]! * pixel(channel, place) * weight(channel, place)),
    ).reduce((sum, part) => sum + part, bias);
    expect(Math.max(...mask)).toBeGreaterThan(0);
    expect(Math.min(...mask)).toBeLessThan(1);
    expectMap(
      (await mapBy(model, 'rise', { masks: 1, grid: cells })).data,
      mask.map((shown) => (score * shown) / (shown + 1e-4)),
      TERMS + 8, // a score's products, and some roundings of the mask, which decide most where it shows next to nothing
      (place) => whole(0) + Math.abs(bias) + (Math.abs(score) * 1e-4) / (mask[place]! + 1e-4) ** 2,
    );
    expectMap(
      (await mapBy(model, 'rise', { masks: 1, grid: cells, denominator: 'expected' })).data,
      mask.map((shown) => (score * shown) / 0.5),
      TERMS + 8,
      2 * (whole(0) + Math.abs(bias)),
    );
  });
});

describe('a quadratic model, whose gradient grows with the pixel', () => {
  let model: Model;
  const w = weights(classes * channels * area).slice(CLASS * TERMS, (CLASS + 1) * TERMS);
  const steepest = largest(w);
  /** The largest sum that a map of squares may take without the signs. */
  const size = 2 * channels * largest(image.data) ** 2 * steepest;
  const squares = mapOf((place) => overColours((channel) => pixel(channel, place) ** 2 * w[channel * area + place]!));

  beforeAll(async () => {
    model = await loadNet('quadratic');
  });
  afterAll(() => model.close());

  it('input times gradient counts every square twice', async () => {
    expectMap(
      (await mapBy(model, 'input-x-gradient')).data,
      squares.map((square) => 2 * square),
      channels + 4, // the gradient's two products and its double, one by the pixel, the sum of the colours
      size,
    );
  });

  // The integral of 2 a over [0, 1] by each rule.
  it.each([
    ['gauss-legendre', 1, undefined, 1],
    ['middle', 4, undefined, 1],
    ['trapezoid', 5, undefined, 1],
    ['left', 4, undefined, 3 / 4],
    ['right', 4, undefined, 5 / 4],
    ['trapezoid', 5, 'captum', 4 / 5],
    ['trapezoid', 5, 'pair', 1],
  ])('integrated gradients by %s with %i steps as in %s: %d of the squares', async (rule, steps, compat, share) => {
    const { data, figures } = await mapBy(model, 'integrated-gradients', {
      quadrature: rule,
      steps,
      ...(compat && { compat }),
    });
    expectMap(
      data,
      squares.map((square) => share * square),
      2 * steps + channels + 7, // a point, a weight and a sum each step; the others as in input times gradient
      size,
    );
    const gain = squares.reduce((sum, square) => sum + square, 0);
    // Sums of as many products: the map's and two scores.
    const sum = w.reduce((all, value, i) => all + image.data[i]! ** 2 * Math.abs(value), 0);
    const rounding = 3 * (TERMS + 2 * steps + 8) * ROUNDOFF * sum;
    expect(Math.abs(figures['completenessError']! - (share - 1) * gain)).toBeLessThanOrEqual(rounding);
    expect(Math.abs(figures['relativeCompletenessError']! - Math.abs(share - 1))).toBeLessThanOrEqual(
      (2 * rounding) / Math.abs(gain),
    );
  });

  it('expected gradients from zeros: twice the mean of the points of the squares', async () => {
    const samples = 6;
    const points = Array.from({ length: samples }, (_, i) => (torchRand(i, 2)[0]! + i) / samples);
    const share = (2 * points.reduce((sum, point) => sum + point, 0)) / samples;
    const { data, figures } = await mapBy(model, 'expected-gradients', { samples, baselines: 'zero' });
    expectMap(
      data,
      squares.map((square) => share * square),
      2 * samples + channels + 9, // as of integrated gradients, and a point's own two
      size,
    );
    const gain = squares.reduce((sum, square) => sum + square, 0);
    const sum = w.reduce((all, value, i) => all + image.data[i]! ** 2 * Math.abs(value), 0);
    expect(Math.abs(figures['completenessError']! - (share - 1) * gain)).toBeLessThanOrEqual(
      3 * (TERMS + 2 * samples + 10) * ROUNDOFF * sum,
    );
  });

  it('expected gradients from noise are complete within their sampling error', async () => {
    const [samples, deviation] = [400, 0.5];
    const { data, figures } = await mapBy(model, 'expected-gradients', { samples, baselines: { noise: deviation } });
    // Of a sample from b at the point a: sum of w (x - b)^2 (2 a - 1), b normal and a uniform.
    const [average, variance] = w.reduce(
      ([mean, squared], value, i) => {
        const pixel = image.data[i]! ** 2;
        return [
          mean + value * (pixel + deviation ** 2),
          squared + value ** 2 * (4 * pixel * deviation ** 2 + 2 * deviation ** 4),
        ] as const;
      },
      [0, 0] as readonly [number, number],
    );
    // The points are spread, so of the mean only their places within n parts are left to chance.
    const error = Math.sqrt(variance / (3 * samples) + average ** 2 / (3 * samples ** 3));
    expect(Math.abs(figures['completenessError']!)).toBeLessThan(5 * error);
    expect(Math.abs(figures['completenessError']!)).toBeGreaterThan(error / 100);
    // What the mean of the scores of noise misses is theirs to miss.
    const gain =
      squares.reduce((sum, square) => sum + square, 0) - w.reduce((sum, value) => sum + value, 0) * deviation ** 2;
    const spread = Math.sqrt((w.reduce((sum, value) => sum + value ** 2, 0) * 2 * deviation ** 4) / samples);
    const total = data.reduce((sum, value) => sum + value, 0);
    expect(Math.abs(total - gain)).toBeLessThan(5 * (error + spread));
  });

  it('VarGrad is the variance of twice the weighted noise', async () => {
    const { data } = await mapBy(model, 'var-grad', { samples: 2000, noise: 0.3, noiseUnit: 'absolute' });
    // Within 5 standard errors of a variance from 2000 samples, sqrt(2 / 2000).
    const expected = mapOf((place) => overColours((channel) => (2 * w[channel * area + place]! * 0.3) ** 2));
    for (const [place, variance] of expected.entries()) {
      expect(Math.abs(data[place]! / variance - 1)).toBeLessThan(5 * Math.sqrt(2 / 2000));
    }
  });

  it('divides the variance by one sample less unless told otherwise', async () => {
    const [unbiased, biased] = [
      await mapBy(model, 'var-grad', { samples: 3 }),
      await mapBy(model, 'var-grad', { samples: 3, unbiased: false }),
    ];
    expectMap(
      unbiased.data,
      Array.from(biased.data, (value) => value * 1.5),
      channels + 2, // the same squares: a quotient and the sum of the colours in each
      2 * largest(unbiased.data),
    );
  });

  it('noise is a share of the image, or absolute', async () => {
    const range = Math.max(...image.data) - Math.min(...image.data);
    const [share, absolute] = [
      await mapBy(model, 'var-grad', { samples: 4, noise: 0.2 }),
      await mapBy(model, 'var-grad', { samples: 4, noise: 0.2 * range, noiseUnit: 'absolute' }),
    ];
    // Noise, its sum with the pixel, the gradient and its square are rounded, none larger than this; no draw is beyond
    // 6.
    const gradient = 2 * steepest * (largest(image.data) + 6 * 0.2 * range);
    expectMap(share.data, absolute.data, 2 * (channels + 4 + 8), channels * gradient ** 2);
    expect(Math.min(...share.data)).toBeGreaterThan(0);
  });
});

describe('one layer of ReLUs', () => {
  let model: Model;
  const mixing = weights(hidden * channels);
  const w = weights(classes * hidden * area).slice(CLASS * hidden * area);
  /** A place adds up the units of every colour: a product and a sum each. */
  const roundings = 2 * hidden + channels;
  const size = channels * hidden * largest(mixing) * largest(w);
  const active = (unit: number, place: number): boolean =>
    overColours((channel) => mixing[unit * channels + channel]! * pixel(channel, place)) > 0;
  /** What comes back through each unit's ReLU, mixed into the colours. */
  const back = (through: (unit: number, place: number, gradient: number) => number): number[] =>
    mapOf((place) =>
      overColours((channel) =>
        Array.from(
          { length: hidden },
          (_, unit) => mixing[unit * channels + channel]! * through(unit, place, w[unit * area + place]!),
        ).reduce((sum, part) => sum + part, 0),
      ),
    );

  beforeAll(async () => {
    model = await loadNet('rectified');
  });
  afterAll(() => model.close());

  it('the gradient passes where the activation did', async () => {
    expectMap(
      (await mapBy(model, 'gradient', { channels: 'sum' })).data,
      back((unit, place, gradient) => (active(unit, place) ? gradient : 0)),
      roundings,
      size,
    );
  });

  it('guided backpropagation passes positive gradients there', async () => {
    expectMap(
      (await mapBy(model, 'guided-backprop', { channels: 'sum' })).data,
      back((unit, place, gradient) => (active(unit, place) ? Math.max(gradient, 0) : 0)),
      roundings,
      size,
    );
  });

  it('the deconvnet passes positive gradients everywhere', async () => {
    expectMap(
      (await mapBy(model, 'deconvnet', { channels: 'sum' })).data,
      back((_unit, _place, gradient) => Math.max(gradient, 0)),
      roundings,
      size,
    );
  });
});
