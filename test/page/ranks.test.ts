import { describe, expect, it } from 'vitest';

import { rankCorrelation, spreadOf } from '../../lib/page/ranks.js';
import { repeatsSay, untrainedSays, wordOf } from '../../lib/page/sureness.js';

const map = (...values: number[]): { data: Float32Array; shape: [number, number] } => ({
  data: Float32Array.from(values),
  shape: [1, values.length],
});

describe('rank correlation', () => {
  it('is that of the order alone', () => {
    expect(rankCorrelation(map(1, 2, 3, 4), map(1, 10, 100, 1000))).toBeCloseTo(1, 12);
    expect(rankCorrelation(map(1, 2, 3, 4), map(4, 3, 2, 1))).toBeCloseTo(-1, 12);
    // 1 - 6 Σd² / (n (n² - 1)) with d = 1, 1, 1, 1, 0.
    expect(rankCorrelation(map(1, 2, 3, 4, 5), map(2, 1, 4, 3, 5))).toBeCloseTo(1 - 24 / 120, 12);
  });

  it('gives equal numbers the mean of their ranks', () => {
    // Ranks 0.5, 0.5, 2 and 0, 1, 2: covariance 1.5, variances 1.5 and 2.
    expect(rankCorrelation(map(1, 1, 2), map(1, 2, 3))).toBeCloseTo(1.5 / Math.sqrt(1.5 * 2), 12);
  });

  it('is none of a flat map, of what is no number, and of another shape', () => {
    expect(rankCorrelation(map(1, 1, 1), map(1, 2, 3))).toBeNull();
    expect(rankCorrelation(map(1, NaN, 1), map(1, 2, 3))).toBeNull();
    expect(rankCorrelation(map(1, 2), map(1, 2, 3))).toBeNull();
  });
});

it('tells the spread as a share of the first map’s range', () => {
  expect([...spreadOf([map(0, 4), map(2, 4)]).data]).toEqual([0.25, 0]);
});

describe('what is said of it', () => {
  it('goes by the least of several', () => {
    expect(repeatsSay([0.95, 0.75], true)).toBe(
      'From 2 other seeds comes much the same map: rank correlation 0.85 on average, 0.75 at the least.',
    );
    expect(repeatsSay([0.95, 0.75], false)).toContain('From 2 copies of the picture with noise of 5.0 % comes');
    expect(repeatsSay([0.9, null], true)).toContain('1 gave a flat map');
    expect([1, 0.9, 0.89, 0.7, 0.69, 0.4, 0.39, -1].map(wordOf)).toEqual([
      'nearly the same map',
      'nearly the same map',
      'much the same map',
      'much the same map',
      'a map that agrees in part',
      'a map that agrees in part',
      'another map',
      'another map',
    ]);
  });

  it('warns of a map that an untrained model gives too', () => {
    expect(untrainedSays(0.8)).toContain('read no reasons into it');
    expect(untrainedSays(0.5)).toContain('part of this map does not come from');
    expect(untrainedSays(0.1)).toContain('depends on what the model learned');
    expect(untrainedSays(-0.9)).toMatch(/nearly the same map, turned round .*read no reasons into it/);
    expect(untrainedSays(null)).toContain('flat');
    expect(untrainedSays(NaN)).toContain('no numbers');
  });
});
