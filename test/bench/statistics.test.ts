import { describe, expect, it } from 'vitest';

import { figureOf, median, percentile, ratiosWithinRounds, relativeSpread } from '../../lib/bench/statistics.js';

describe('percentile', () => {
  it('interpolates between the nearest ranks, whatever the order', () => {
    const values = [40, 10, 30, 20];
    expect(percentile(values, 0)).toBe(10);
    expect(percentile(values, 1)).toBe(40);
    // Rank 0.5 * 3 = 1.5: half way from 20 to 30.
    expect(median(values)).toBe(25);
    // Rank 0.95 * 3 = 2.85.
    expect(percentile(values, 0.95)).toBeCloseTo(38.5, 12);
    expect(values).toEqual([40, 10, 30, 20]);
  });

  it('is the middle value of an odd number, and the value of one', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(percentile([7], 0.99)).toBe(7);
  });

  it('sorts numbers as numbers', () => {
    expect(median([100, 9, 20])).toBe(20);
  });

  it('of no values is refused', () => {
    expect(() => percentile([], 0.5)).toThrow(RangeError);
  });
});

it('a figure is the median between the quartiles', () => {
  const figure = figureOf([1, 2, 3, 4, 100]);
  expect(figure).toEqual({ median: 3, low: 2, high: 4, samples: 5 });
  expect(relativeSpread(figure)).toBeCloseTo(2 / 3, 12);
});

it('ratios are taken within rounds, so that a slow round does not count', () => {
  // The third round is five times slower for both: the ratio of the medians would be 22 / 10.
  const forward = [10, 10, 50, 8, 10];
  const method = [20, 22, 100, 16, 30];
  expect(ratiosWithinRounds(method, forward)).toEqual([2, 2.2, 2, 2, 3]);
  expect(figureOf(ratiosWithinRounds(method, forward)).median).toBe(2);
  expect(() => ratiosWithinRounds([1], [1, 2])).toThrow(RangeError);
});
