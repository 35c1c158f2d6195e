/** How alike two maps are: the names of the field. */
export const SIMILARITIES = ['spearman', 'absolute-spearman', 'pearson', 'ssim'] as const;
/** The name of one. */
export type Similarity = (typeof SIMILARITIES)[number];

/** A map's values, row by row. */
export interface Values {
  readonly data: Float32Array;
  readonly shape: readonly [height: number, width: number];
}

/**
 * How alike two maps of one shape are, 1 for maps that order their pixels alike (`ssim`: equal maps), 0 for maps that
 * have nothing to do with each other, in [-1, 1]. NaN where one of them is flat or not finite.
 *
 * `spearman` is the rank correlation of the values, `absolute-spearman` that of their magnitudes, `pearson` the
 * correlation of the values; `ssim` is the structural similarity of both maps brought to [0, 1] (Wang et al. 2004,
 * windows of 7 x 7 pixels that all count alike).
 */
export function similarityOf(a: Values, b: Values, by: Similarity): number {
  if (a.data.length !== b.data.length || !a.data.every(Number.isFinite) || !b.data.every(Number.isFinite)) return NaN;
  switch (by) {
    case 'spearman':
      return correlation(ranksOf(a.data), ranksOf(b.data));
    case 'absolute-spearman':
      return correlation(ranksOf(a.data.map(Math.abs)), ranksOf(b.data.map(Math.abs)));
    case 'pearson':
      return correlation(a.data, b.data);
    case 'ssim':
      return structuralSimilarity(a, b);
  }
}

function correlation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const meanOf = (values: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[i]!;
    return sum / values.length;
  };
  const [meanA, meanB] = [meanOf(a), meanOf(b)];
  let [both, ofA, ofB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]! - meanA, b[i]! - meanB];
    both += x * y;
    ofA += x * x;
    ofB += y * y;
  }
  return ofA === 0 || ofB === 0 ? NaN : both / Math.sqrt(ofA * ofB);
}

/** Equal numbers share the mean of their places. */
function ranksOf(data: Float32Array): Float64Array {
  const order = Uint32Array.from(data.keys()).sort((i, j) => data[i]! - data[j]!);
  const ranks = new Float64Array(data.length);
  for (let from = 0; from < order.length;) {
    let to = from + 1;
    while (to < order.length && data[order[to]!] === data[order[from]!]) to++;
    for (let i = from; i < to; i++) ranks[order[i]!] = (from + to - 1) / 2;
    from = to;
  }
  return ranks;
}

const WINDOW = 7;
/** The paper's constants, for a range of 1. */
const [C1, C2] = [0.01 ** 2, 0.03 ** 2];

/** The mean over all windows that lie within the maps. */
function structuralSimilarity(a: Values, b: Values): number {
  const [x, y] = [unit(a.data), unit(b.data)];
  const [height, width] = a.shape;
  const size = Math.min(WINDOW, height, width);
  if (x === null || y === null) return NaN;
  const sums = [x, y, times(x, x), times(y, y), times(x, y)].map((values) => windowSums(values, height, width, size));
  const [ofX, ofY, ofXX, ofYY, ofXY] = sums as [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
  const count = size * size;
  // Of samples, as scikit-image has it.
  const unbiased = count > 1 ? count / (count - 1) : 1;
  let total = 0;
  for (let i = 0; i < ofX.length; i++) {
    const [meanX, meanY] = [ofX[i]! / count, ofY[i]! / count];
    const varianceX = unbiased * (ofXX[i]! / count - meanX * meanX);
    const varianceY = unbiased * (ofYY[i]! / count - meanY * meanY);
    const covariance = unbiased * (ofXY[i]! / count - meanX * meanY);
    total +=
      ((2 * meanX * meanY + C1) * (2 * covariance + C2)) /
      ((meanX * meanX + meanY * meanY + C1) * (varianceX + varianceY + C2));
  }
  return total / ofX.length;
}

/** To [0, 1]; null for a flat map. */
function unit(data: Float32Array): Float64Array | null {
  let [low, high] = [Infinity, -Infinity];
  for (const value of data) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low === high ? null : Float64Array.from(data, (value) => (value - low) / (high - low));
}

const times = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value * b[i]!);

/** The sum over each window of `size` x `size` that lies within, by running sums along rows and then columns. */
function windowSums(values: Float64Array, height: number, width: number, size: number): Float64Array {
  const across = width - size + 1;
  const down = height - size + 1;
  const rows = new Float64Array(height * across);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < across; column++) {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += values[row * width + column + i]!;
      rows[row * across + column] = sum;
    }
  }
  const sums = new Float64Array(down * across);
  for (let row = 0; row < down; row++) {
    for (let column = 0; column < across; column++) {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += rows[(row + i) * across + column]!;
      sums[row * across + column] = sum;
    }
  }
  return sums;
}
