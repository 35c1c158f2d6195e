import { describe, expect, it } from 'vitest';

import {
  compareAnswers,
  largestDifference,
  median,
  rankCorrelation,
  ratio,
  unit,
} from '../../bench/peers/statistics.mjs';

describe('median and ratio', () => {
  it('takes the middle, or the mean of the two middle values, whatever the order', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([9, 1, 5, 2])).toBe(3.5);
    expect(median([])).toBeNaN();
  });

  it('divides within each round, not median by median', () => {
    // The machine was four times slower in the second round, for both alike.
    expect(ratio([2, 8, 2], [1, 4, 1])).toEqual({ median: 2, low: 2, high: 2 });
    expect(ratio([2, 9, 4], [1, 3, 4])).toEqual({ median: 2, low: 1, high: 3 });
  });

  it('refuses rounds that do not belong together', () => {
    expect(() => ratio([1, 2], [1])).toThrow('not of 2 and 1');
    expect(() => ratio([], [])).toThrow(RangeError);
  });
});

describe('agreement', () => {
  it('ignores scale and offset in differences', () => {
    expect([...unit([3, 5, 4])]).toEqual([0, 1, 0.5]);
    expect([...unit([7, 7])]).toEqual([0, 0]);
    expect(largestDifference([0, 1, 2], [10, 30, 50])).toBe(0);
    expect(largestDifference([0, 1, 2], [0, 2, 2])).toBe(0.5);
    expect(largestDifference([0, 1, NaN], [0, 1, 2])).toBeNaN();
  });

  it('correlates ranks, ties sharing theirs', () => {
    expect(rankCorrelation([1, 2, 3], [1, 10, 100])).toBeCloseTo(1, 12);
    expect(rankCorrelation([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1, 12);
    // Ranks 0.5, 0.5, 2 and 0, 1, 2: covariance 1.5 over sqrt(1.5 * 2).
    expect(rankCorrelation([1, 1, 2], [1, 2, 3])).toBeCloseTo(1.5 / Math.sqrt(3), 12);
    expect(rankCorrelation([1, 1, 1], [1, 2, 3])).toBeNaN();
  });

  const answer = (...images: number[][]) => ({
    data: Float32Array.from(images.flat()),
    shape: [images.length, images[0]!.length],
  });

  it('judges by the worst image', () => {
    const ours = answer([0, 1, 2, 4], [0, 1, 2, 4]);
    const theirs = answer([0, 2, 4, 8], [0, 2, 2, 4]);
    expect(compareAnswers(ours, theirs, { difference: 0.2 })).toMatchObject({ value: 0.25, limit: 0.2, agrees: false });
    expect(compareAnswers(ours, theirs, { difference: 0.3 })).toMatchObject({ agrees: true });
    expect(compareAnswers(ours, theirs, { rank: 0.9 })).toMatchObject({ figure: 'rank correlation', agrees: true });
    expect(compareAnswers(ours, answer([0, 1, 2, 4], [4, 2, 1, 0]), { rank: 0.9 })).toMatchObject({
      value: -1,
      agrees: false,
    });
  });

  it('tells without judging where no more can be asked', () => {
    expect(compareAnswers(answer([1, 2, 3]), answer([3, 2, 1]), { told: 'other masks' })).toMatchObject({
      value: -1,
      limit: null,
      agrees: true,
      note: 'other masks',
    });
  });

  it('does not compare other shapes, nor let NaN pass', () => {
    expect(compareAnswers(answer([1, 2]), answer([1, 2, 3]), { rank: 0 })).toMatchObject({
      agrees: false,
      note: 'the answers have the shapes [1, 2] and [1, 3]',
    });
    expect(compareAnswers(answer([1, 2]), answer([1, NaN]), { difference: 1 })).toMatchObject({ agrees: false });
    expect(compareAnswers(answer([1, 2, 3]), answer([5, 5, 5]), { rank: -1 })).toMatchObject({ agrees: false });
  });
});
