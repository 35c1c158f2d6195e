/** Figures of rounds that were measured in alternation, and how far two answers agree. */

/** The middle value; of an even number, the mean of the two. @param {readonly number[]} values @returns {number} */
export function median(values) {
  if (values.length === 0) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The quotient of two contestants, round by round: what changes between rounds (another program on the machine, its
 * clock) changes both, so that the quotients scatter less than the times.
 *
 * @param {readonly number[]} of @param {readonly number[]} to of the same rounds
 * @returns {{ median: number, low: number, high: number }} the median, the lowest and the highest of the rounds
 */
export function ratio(of, to) {
  if (of.length !== to.length || of.length === 0) {
    throw new RangeError(`A ratio takes two lists of the same rounds, not of ${of.length} and ${to.length}.`);
  }
  const quotients = of.map((value, i) => value / to[i]);
  return { median: median(quotients), low: Math.min(...quotients), high: Math.max(...quotients) };
}

/** Brought to [0, 1]; a flat one to zeros. @param {ArrayLike<number>} values */
export function unit(values) {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  const range = high > low ? high - low : 1;
  return Float64Array.from(values, (value) => (value - low) / range);
}

/**
 * The largest difference of any element after both were brought to [0, 1]. NaN where either holds one.
 *
 * @param {ArrayLike<number>} a @param {ArrayLike<number>} b
 */
export function largestDifference(a, b) {
  const [x, y] = [unit(a), unit(b)];
  let largest = 0;
  for (let i = 0; i < x.length; i++) {
    const difference = Math.abs(x[i] - y[i]);
    if (!(difference <= largest)) largest = difference;
    if (Number.isNaN(difference)) return NaN;
  }
  return largest;
}

/** Ranks, equal values sharing their mean rank. @param {ArrayLike<number>} data */
function ranks(data) {
  const order = Array.from({ length: data.length }, (_, i) => i).sort((a, b) => data[a] - data[b]);
  const result = new Float64Array(data.length);
  for (let start = 0; start < order.length;) {
    let end = start;
    while (end < order.length && data[order[end]] === data[order[start]]) end++;
    for (let i = start; i < end; i++) result[order[i]] = (start + end - 1) / 2;
    start = end;
  }
  return result;
}

/** Spearman's rank correlation; NaN where either is flat. @param {ArrayLike<number>} a @param {ArrayLike<number>} b */
export function rankCorrelation(a, b) {
  const [x, y] = [ranks(a), ranks(b)];
  const middle = (x.length - 1) / 2;
  let xy = 0;
  let xx = 0;
  let yy = 0;
  for (let i = 0; i < x.length; i++) {
    xy += (x[i] - middle) * (y[i] - middle);
    xx += (x[i] - middle) ** 2;
    yy += (y[i] - middle) ** 2;
  }
  return xx === 0 || yy === 0 ? NaN : xy / Math.sqrt(xx * yy);
}

/**
 * Whether two answers [N, ...] are the same job's: the worst image counts.
 *
 * @typedef {{ difference: number } | { rank: number } | { told: string }} Agreement how much they may differ: the
 * largest difference after each image was brought to [0, 1], or the least rank correlation; `told` only tells the
 * correlation, and says why no more can be asked
 * @typedef {{ readonly data: ArrayLike<number>, readonly shape: readonly number[] }} Answer
 * @param {Answer} ours @param {Answer} theirs @param {Agreement} asked
 * @returns {{ figure: 'largest difference' | 'rank correlation', value: number, limit: number | null, agrees: boolean,
 * note: string }}
 */
export function compareAnswers(ours, theirs, asked) {
  const shapes = `[${ours.shape.join(', ')}] and [${theirs.shape.join(', ')}]`;
  const isDifference = 'difference' in asked;
  const figure = isDifference ? 'largest difference' : 'rank correlation';
  const limit = isDifference ? asked.difference : 'rank' in asked ? asked.rank : null;
  if (ours.shape.join() !== theirs.shape.join()) {
    return { figure, value: NaN, limit, agrees: false, note: `the answers have the shapes ${shapes}` };
  }
  const count = ours.shape[0];
  const size = ours.data.length / count;
  const of = (/** @type {Answer} */ answer, /** @type {number} */ i) =>
    Array.prototype.slice.call(answer.data, i * size, (i + 1) * size);
  const values = Array.from({ length: count }, (_, i) =>
    (isDifference ? largestDifference : rankCorrelation)(of(ours, i), of(theirs, i)),
  );
  const value = values.some(Number.isNaN) ? NaN : isDifference ? Math.max(...values) : Math.min(...values);
  const agrees = limit === null ? true : isDifference ? value <= limit : value >= limit;
  return { figure, value, limit, agrees, note: 'told' in asked ? asked.told : '' };
}
