import { uniformNumbers } from '../../support/random.js';

/** A mean with the range that it lies in with some confidence. */
export interface Interval {
  /** The mean; NaN of no values. */
  readonly mean: number;
  /** The lower end; NaN of fewer than two values. */
  readonly low: number;
  /** The upper end; NaN of fewer than two values. */
  readonly high: number;
}

const RESAMPLES = 2000;

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * The mean of some values and its bootstrap interval: the middle `confidence` of the means of values drawn from them
 * with replacement (percentile method, Efron & Tibshirani 1993). Of one value, or none, low and high are NaN.
 */
export function bootstrapMean(values: readonly number[], confidence: number, seed: number): Interval {
  if (values.length === 0) return { mean: NaN, low: NaN, high: NaN };
  const mean = meanOf(values);
  if (values.length === 1) return { mean, low: NaN, high: NaN };
  const uniform = uniformNumbers(seed);
  const means = new Float64Array(RESAMPLES).map(() => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[Math.floor(uniform() * values.length)]!;
    return sum / values.length;
  });
  means.sort();
  const at = (share: number): number => means[Math.min(RESAMPLES - 1, Math.floor(share * RESAMPLES))]!;
  return { mean, low: at((1 - confidence) / 2), high: at((1 + confidence) / 2) };
}

/** Up to so many pairs, every choice of signs is counted: 2^14 of them. */
const EXACT_PAIRS = 14;
const SIGN_DRAWS = 10_000;

/**
 * How likely a mean difference at least as large as that of some pairs would be if each pair's difference were as
 * likely the other way round (paired sign-flip permutation test, two-sided). Exact up to 14 pairs; else from 10,000
 * draws, of which the observed one is counted, so that it is never 0. NaN without pairs.
 */
export function pairedTest(differences: readonly number[], seed: number): number {
  const pairs = differences.length;
  if (pairs === 0) return NaN;
  const observed = Math.abs(differences.reduce((sum, value) => sum + value, 0));
  // Sums of the same numbers in another order differ by rounding.
  const least = observed - 1e-12 * differences.reduce((sum, value) => sum + Math.abs(value), 0);
  const isExtreme = (flipped: (i: number) => boolean): boolean =>
    Math.abs(differences.reduce((sum, value, i) => sum + (flipped(i) ? -value : value), 0)) >= least;
  if (pairs <= EXACT_PAIRS) {
    let extreme = 0;
    for (let signs = 0; signs < 2 ** pairs; signs++) if (isExtreme((i) => ((signs >> i) & 1) === 1)) extreme++;
    return extreme / 2 ** pairs;
  }
  const uniform = uniformNumbers(seed);
  let extreme = 1;
  for (let draw = 0; draw < SIGN_DRAWS; draw++) if (isExtreme(() => uniform() < 0.5)) extreme++;
  return extreme / (SIGN_DRAWS + 1);
}

/**
 * P-values of several comparisons as if one were made: Holm's step-down (1979). NaN stays NaN and counts for nothing.
 */
export function holm(values: readonly number[]): number[] {
  const order = values.flatMap((value, i) => (Number.isNaN(value) ? [] : [i])).sort((a, b) => values[a]! - values[b]!);
  const adjusted = values.map(() => NaN);
  let largest = 0;
  order.forEach((i, rank) => {
    largest = Math.max(largest, Math.min(1, values[i]! * (order.length - rank)));
    adjusted[i] = largest;
  });
  return adjusted;
}
