/** How much two maps agree, and what a map is compared with. */
import { similarityOf } from '../requests/sanity/similarity.js';
import type { MapValues } from './paint.js';

/** Spearman's rank correlation of two maps of one shape, in [-1, 1]; null where one is flat or no number. */
export function rankCorrelation(a: MapValues, b: MapValues): number | null {
  const figure = similarityOf(a, b, 'spearman');
  return Number.isNaN(figure) ? null : figure;
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
