import { describe, expect, it } from 'vitest';

import { bootstrapMean, holm, pairedTest } from '../../lib/requests/evaluate/statistics.js';

describe('the bootstrap interval', () => {
  it('is near the normal one where there is much data', () => {
    const values = Array.from({ length: 400 }, (_, i) => Math.sin(i * 12.9898) * 3);
    const { mean, low, high } = bootstrapMean(values, 0.95, 1);
    const average = values.reduce((sum, value) => sum + value, 0) / 400;
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - average) ** 2, 0) / 400);
    expect(mean).toBeCloseTo(average, 12);
    // 2,000 draws leave a share of about a twentieth of the half-width open.
    const half = (1.96 * deviation) / 20;
    expect(Math.abs(average - low - half)).toBeLessThan(0.2 * half);
    expect(Math.abs(high - average - half)).toBeLessThan(0.2 * half);
  });

  it('repeats by seed, and has no width of equal values', () => {
    const values = [1, 4, 2, 8];
    expect(bootstrapMean(values, 0.9, 3)).toEqual(bootstrapMean(values, 0.9, 3));
    expect(bootstrapMean([2, 2, 2], 0.95, 0)).toEqual({ mean: 2, low: 2, high: 2 });
    expect(bootstrapMean([2], 0.95, 0)).toEqual({ mean: 2, low: NaN, high: NaN });
    expect(bootstrapMean([], 0.95, 0)).toEqual({ mean: NaN, low: NaN, high: NaN });
  });
});

describe('the paired sign-flip test', () => {
  it('is exact of few pairs', () => {
    // Of 2^4 choices of signs only all and none reach the sum of 10.
    expect(pairedTest([1, 2, 3, 4], 0)).toBe(2 / 16);
    // 1 + 2 - 3 = 0: every choice is at least as large.
    expect(pairedTest([1, 2, -3], 0)).toBe(1);
    expect(pairedTest([0, 0], 0)).toBe(1);
    expect(pairedTest([], 0)).toBeNaN();
  });

  it('draws of many pairs, and never says 0', () => {
    const clear = Array.from({ length: 40 }, () => 1);
    expect(pairedTest(clear, 5)).toBe(1 / 10_001);
    const none = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 1 : -1));
    expect(pairedTest(none, 5)).toBe(1);
  });
});

describe("Holm's correction", () => {
  it('multiplies from the smallest up, and never falls', () => {
    expect(holm([0.01, 0.04, 0.03])).toEqual([0.03, 0.06, 0.06]);
    expect(holm([0.5, NaN, 0.9])).toEqual([1, NaN, 1]);
    expect(holm([])).toEqual([]);
  });
});
