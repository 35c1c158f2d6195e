import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../../lib/index.js';
import { torchRand } from '../../support/torch-random.js';
import { randomTensor } from '../../support/models.js';
import { explainWith, loadNet, NET, weights, type GradientMethod } from './support.js';

const { classes, channels, height, width, hidden } = NET;
const area = height * width;
const CLASS = 3;
const image = randomTensor(1, height, width, 5);
const pixel = (channel: number, place: number): number => image.data[channel * area + place]!;

/** A map [height, width] of what `at` says of each place. */
const mapOf = (at: (place: number) => number): number[] => Array.from({ length: area }, (_, place) => at(place));
const overColours = (of: (channel: number) => number): number => [0, 1, 2].reduce((sum, channel) => sum + of(channel), 0);

async function mapBy(model: Model, method: GradientMethod, options: Record<string, unknown> = {}): Promise<{ data: Float32Array; figures: Readonly<Record<string, number>>; state: string }> {
  const [explained] = await explainWith(model, image, method, options, { targets: [CLASS], size: 'grid' });
  return explained!.maps[0]!;
}

function expectMap(found: Float32Array, expected: readonly number[], digits = 4): void {
  expect(found.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(found[i], `place ${i}`).toBeCloseTo(value, digits);
}

describe('a linear model, whose gradient is its weights', () => {
  let model: Model;
  const w = weights(classes * channels * area).slice(CLASS * channels * area);
  const weight = (channel: number, place: number): number => w[channel * area + place]!;

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
    expectMap((await mapBy(model, 'gradient', { channels: name })).data, expected);
    // No noise changes a constant gradient.
    expectMap((await mapBy(model, 'smooth-grad', { channels: name, samples: 3, noise: 0.5 })).data, expected);
  });

  it('input times gradient', async () => {
    expectMap((await mapBy(model, 'input-x-gradient')).data, mapOf((place) => overColours((channel) => pixel(channel, place) * weight(channel, place))));
  });

  it('VarGrad is flat: a constant gradient has no variance', async () => {
    const { data, state } = await mapBy(model, 'var-grad', { samples: 4 });
    expect(Math.max(...data)).toBeLessThan(1e-8);
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
    expectMap(data, mapOf((place) => overColours((channel) => (pixel(channel, place) - baseline[channel]!) * weight(channel, place))));
    expect(Math.abs(figures['completenessError']!)).toBeLessThan(1e-3);
    expect(figures['relativeCompletenessError']!).toBeLessThan(1e-4);
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
        const drop = inside.reduce((sum, place) => sum + overColours((channel) => (pixel(channel, place) - colour) * weight(channel, place)), 0);
        for (const place of inside) {
          fall[place]! += drop;
          covering[place]!++;
        }
      }
    }
    const expected = overlap === 'sum' ? fall : fall.map((sum, place) => sum / Math.max(covering[place]!, 1));
    const { data } = await mapBy(model, 'occlusion', { window, stride, baseline: colour, overlap, edge });
    expectMap(data, expected, 3);
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
      return down.reduce((sum, a, i) => sum + across.reduce((row, b, j) => row + (drawn[i * cells[1] + j]! < 0.5 ? a * b : 0), 0), 0);
    });
    const bias = weights(classes)[CLASS]!;
    const score = mapOf((place) => overColours((channel) => mask[place]! * pixel(channel, place) * weight(channel, place))).reduce((sum, part) => sum + part, bias);
    expect(Math.max(...mask)).toBeGreaterThan(0);
    expect(Math.min(...mask)).toBeLessThan(1);
    expectMap((await mapBy(model, 'rise', { masks: 1, grid: cells })).data, mask.map((shown) => (score * shown) / (shown + 1e-4)), 3);
    expectMap((await mapBy(model, 'rise', { masks: 1, grid: cells, denominator: 'expected' })).data, mask.map((shown) => (score * shown) / 0.5), 3);
  });
});

describe('a quadratic model, whose gradient grows with the pixel', () => {
  let model: Model;
  const w = weights(classes * channels * area).slice(CLASS * channels * area);
  const squares = mapOf((place) => overColours((channel) => pixel(channel, place) ** 2 * w[channel * area + place]!));

  beforeAll(async () => {
    model = await loadNet('quadratic');
  });
  afterAll(() => model.close());

  it('input times gradient counts every square twice', async () => {
    expectMap((await mapBy(model, 'input-x-gradient')).data, squares.map((square) => 2 * square));
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
    const { data, figures } = await mapBy(model, 'integrated-gradients', { quadrature: rule, steps, ...(compat && { compat }) });
    expectMap(data, squares.map((square) => share * square));
    const gain = squares.reduce((sum, square) => sum + square, 0);
    expect(figures['completenessError']!).toBeCloseTo((share - 1) * gain, 3);
    expect(figures['relativeCompletenessError']!).toBeCloseTo(Math.abs(share - 1), 3);
  });

  it('VarGrad is the variance of twice the weighted noise', async () => {
    const { data } = await mapBy(model, 'var-grad', { samples: 2000, noise: 0.3, noiseUnit: 'absolute' });
    // Within 5 standard errors of a variance from 2000 samples, sqrt(2 / 2000).
    const expected = mapOf((place) => overColours((channel) => (2 * w[channel * area + place]! * 0.3) ** 2));
    for (const [place, variance] of expected.entries()) expect(Math.abs(data[place]! / variance - 1)).toBeLessThan(5 * Math.sqrt(2 / 2000));
  });

  it('divides the variance by one sample less unless told otherwise', async () => {
    const [unbiased, biased] = [await mapBy(model, 'var-grad', { samples: 3 }), await mapBy(model, 'var-grad', { samples: 3, unbiased: false })];
    expectMap(unbiased.data, Array.from(biased.data, (value) => value * 1.5), 3);
  });

  it('noise is a share of the image, or absolute', async () => {
    const range = Math.max(...image.data) - Math.min(...image.data);
    const [share, absolute] = [await mapBy(model, 'var-grad', { samples: 4, noise: 0.2 }), await mapBy(model, 'var-grad', { samples: 4, noise: 0.2 * range, noiseUnit: 'absolute' })];
    for (const [i, value] of share.data.entries()) expect(value / absolute.data[i]!).toBeCloseTo(1, 4);
  });
});

describe('one layer of ReLUs', () => {
  let model: Model;
  const mixing = weights(hidden * channels);
  const w = weights(classes * hidden * area).slice(CLASS * hidden * area);
  const active = (unit: number, place: number): boolean => overColours((channel) => mixing[unit * channels + channel]! * pixel(channel, place)) > 0;
  /** What comes back through each unit's ReLU, mixed into the colours. */
  const back = (through: (unit: number, place: number, gradient: number) => number): number[] =>
    mapOf((place) => overColours((channel) => Array.from({ length: hidden }, (_, unit) => mixing[unit * channels + channel]! * through(unit, place, w[unit * area + place]!)).reduce((sum, part) => sum + part, 0)));

  beforeAll(async () => {
    model = await loadNet('rectified');
  });
  afterAll(() => model.close());

  it('the gradient passes where the activation did', async () => {
    expectMap((await mapBy(model, 'gradient', { channels: 'sum' })).data, back((unit, place, gradient) => (active(unit, place) ? gradient : 0)));
  });

  it('guided backpropagation passes positive gradients there', async () => {
    expectMap((await mapBy(model, 'guided-backprop', { channels: 'sum' })).data, back((unit, place, gradient) => (active(unit, place) ? Math.max(gradient, 0) : 0)));
  });

  it('the deconvnet passes positive gradients everywhere', async () => {
    expectMap((await mapBy(model, 'deconvnet', { channels: 'sum' })).data, back((_unit, _place, gradient) => Math.max(gradient, 0)));
  });
});
