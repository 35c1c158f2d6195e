/** How much two maps agree, and what a map is compared with. */
import type { MapValues } from './paint.js';

/** Spearman's rank correlation of two maps of one shape, in [-1, 1]; null where one is flat or no number. */
export function rankCorrelation(a: MapValues, b: MapValues): number | null {
  if (a.data.length !== b.data.length) return null;
  const [x, y] = [ranksOf(a.data), ranksOf(b.data)];
  if (x === null || y === null) return null;
  // Ranks of any n numbers have the same mean.
  const mean = (x.length - 1) / 2;
  let [both, ofX, ofY] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const [dx, dy] = [x[i]! - mean, y[i]! - mean];
    both += dx * dy;
    ofX += dx * dx;
    ofY += dy * dy;
  }
  return ofX === 0 || ofY === 0 ? null : both / Math.sqrt(ofX * ofY);
}

/** Equal numbers share the mean of their places. */
function ranksOf(data: Float32Array): Float64Array | null {
  if (!data.every(Number.isFinite)) return null;
  const order = Uint32Array.from(data.keys()).sort((a, b) => data[a]! - data[b]!);
  const ranks = new Float64Array(data.length);
  for (let from = 0; from < order.length;) {
    let to = from + 1;
    while (to < order.length && data[order[to]!] === data[order[from]!]) to++;
    for (let i = from; i < to; i++) ranks[order[i]!] = (from + to - 1) / 2;
    from = to;
  }
  return ranks;
}

/** The standard deviation of each cell over several maps, as a share of the first one's range. */
export function spreadOf(maps: readonly MapValues[]): MapValues {
  const [first] = maps;
  const { data, shape } = first!;
  let [min, max] = [Infinity, -Infinity];
  for (const value of data) [min, max] = [Math.min(min, value), Math.max(max, value)];
  const spread = data.map((_, i) => {
    const values = maps.map((map) => map.data[i]!);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    return Math.sqrt(variance) / (max - min);
  });
  return { data: spread, shape };
}
