/**
 * The value below which a share of the values lies, by linear interpolation between the two nearest ranks: rank
 * p (n - 1), counted from 0 in ascending order (Hyndman and Fan's type 7, NumPy's default).
 *
 * @param share in [0, 1]
 * @throws RangeError without values
 */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError('There is no percentile of no values.');
  const sorted = [...values].sort((a, b) => a - b);
  const rank = share * (sorted.length - 1);
  const below = Math.floor(rank);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (rank - below) * (high - low);
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** A measured figure: its median, and the quartiles between which half of the samples lie. */
export interface Figure {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly samples: number;
}

export function figureOf(values: readonly number[]): Figure {
  return {
    median: median(values),
    low: percentile(values, 0.25),
    high: percentile(values, 0.75),
    samples: values.length,
  };
}

/**
 * Round by round `of` over `to`: what a slow minute does to both cancels out, as it would not in a ratio of medians.
 */
export function ratiosWithinRounds(of: readonly number[], to: readonly number[]): number[] {
  if (of.length !== to.length) {
    throw new RangeError(`There are ${of.length} rounds of one and ${to.length} of the other.`);
  }
  return of.map((value, round) => value / to[round]!);
}

/** The width of the middle half as a share of the median. */
export function relativeSpread({ median: middle, low, high }: Figure): number {
  return (high - low) / middle;
}
