import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../../lib/index.js';
import { randomTensor } from '../../support/models.js';
import { expectWithin, ROUNDOFF } from '../../support/rounding.js';
import { explainWith, loadNet, NET, weights, type GradientMethod } from './support.js';

const { classes, channels, height, width } = NET;
const area = height * width;
const TERMS = channels * area;
const CLASS = 3;
const image = randomTensor(1, height, width, 5);
const largest = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
const brightest = largest(image.data);

/** The weights of Gaussians around a place, cut off at four standard deviations and with nothing beyond the edge. */
function gaussian(sigma: number, distance: number): number {
  const reach = Math.floor(4 * sigma + 0.5);
  let total = 0;
  for (let at = -reach; at <= reach; at++) total += Math.exp((-at * at) / (2 * sigma * sigma));
  return distance > reach ? 0 : Math.exp((-distance * distance) / (2 * sigma * sigma)) / total;
}

/** The image blurred, by the definition: every pixel with every other. */
function blurred(sigma: number): number[] {
  return Array.from(image.data, (_, i) => {
    const [plane, row, column] = [Math.floor(i / area), Math.floor((i % area) / width), i % width];
    let sum = 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const weight = gaussian(sigma, Math.abs(row - y)) * gaussian(sigma, Math.abs(column - x));
        sum += weight * image.data[plane * area + y * width + x]!;
      }
    }
    return sum;
  });
}

const overColors = (of: (i: number) => number): number[] =>
  Array.from({ length: area }, (_, place) =>
    Array.from({ length: channels }, (_, channel) => of(channel * area + place)).reduce((sum, value) => sum + value, 0),
  );
const scoreOf = (pixels: ArrayLike<number>, w: readonly number[]): number =>
  w.reduce((sum, value, i) => sum + value * pixels[i]!, 0);

describe('a linear model, whose gradient is its weights', () => {
  let model: Model;
  const w = weights(classes * TERMS).slice(CLASS * TERMS, (CLASS + 1) * TERMS);
  const heaviest = largest(w);
  /** Of a score: what its products add up to without their signs. */
  const whole = w.reduce((sum, value, i) => sum + Math.abs(value * image.data[i]!), 0) + 3;

  beforeAll(async () => {
    model = await loadNet('linear');
  });
  afterAll(() => model.close());

  const mapBy = async (method: GradientMethod, options: Record<string, unknown>) => {
    const [explained] = await explainWith(model, image, method, options, { targets: [CLASS], size: 'grid' });
    return explained!.maps[0]!;
  };

  it.each([
    [1, 0.7],
    [3, 2],
    [8, 50],
  ])('blur-ig of %i steps from a Gaussian of %d is the weights times what it takes away', async (steps, maxSigma) => {
    const away = blurred(maxSigma);
    const { data, figures } = await mapBy('blur-ig', { steps, maxSigma });
    expectWithin(
      data,
      overColors((i) => w[i]! * (image.data[i]! - away[i]!)),
      // Two blurs each step: a weight of five roundings, a product and a sum for each place of both axes.
      2 * steps * (5 + 2 * (height + width)) + channels + 2,
      2 * channels * heaviest * brightest,
    );
    const rounding = (3 * TERMS + 2 * steps * (5 + 2 * (height + width))) * ROUNDOFF * 2 * whole;
    expect(Math.abs(figures['completenessError']!)).toBeLessThanOrEqual(rounding);
  });

  it('blur-ig as PAIR has it sees what a pixel changes at the sharper end of each step', async () => {
    const [steps, maxSigma] = [4, 3];
    const rates = new Float64Array(TERMS);
    for (let step = 1; step < steps; step++) {
      const sigma = (step * maxSigma) / steps;
      const [here, there] = [blurred(sigma), blurred(sigma + 0.01)];
      rates.forEach((_, i) => (rates[i]! += ((here[i]! - there[i]!) / 0.01) * (maxSigma / steps)));
    }
    const { data } = await mapBy('blur-ig', { steps, maxSigma, compat: 'pair' });
    expectWithin(
      data,
      // The first step begins at the image itself, which a Gaussian of 0.01 pixels does not change.
      overColors((i) => w[i]! * rates[i]!),
      2 * steps * (5 + 2 * (height + width)),
      (channels * heaviest * brightest * (maxSigma / steps)) / 0.01,
    );
  });

  it.each([
    ['blur-ig', { steps: 5, maxSigma: 2 }, () => scoreOf(blurred(2), w)],
    ['integrated-gradients', { steps: 5, baseline: 0.5 }, () => 0.5 * w.reduce((sum, value) => sum + value, 0)],
  ] as const)("idgi shares the gain of %s's path out by the squared weights", async (method, options, start) => {
    const gain = scoreOf(image.data, w) - start();
    const squares = w.reduce((sum, value) => sum + value * value, 0);
    const { data, figures } = await mapBy(method, { ...options, quadrature: 'idgi' });
    // Each step's gain is the difference of two scores.
    const roundings = 2 * 5 * (TERMS + 5 + 2 * (height + width)) + TERMS + channels;
    expectWithin(
      data,
      overColors((i) => (gain * w[i]! * w[i]!) / squares),
      roundings,
      (place) => (whole * overColors((i) => w[i]! * w[i]!)[place]!) / squares,
    );
    expect(Math.abs(figures['completenessError']!)).toBeLessThanOrEqual(roundings * ROUNDOFF * whole);
  });
});
