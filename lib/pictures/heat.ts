import type { AxisTaps } from '../engine/native-types.js';

/** What a picture needs to know of a heatmap; a HeatMap of `explain` is one. */
export interface HeatMapLike {
  /** Row-major, `shape[0] * shape[1]` numbers. */
  readonly data: Float32Array;
  /** [height, width] of the grid. */
  readonly shape: readonly [height: number, width: number];
  /** `flat`: every number is the same; `nan`: at least one is not finite. Neither has anything to paint. */
  readonly state: 'ok' | 'flat' | 'nan';
}

/** The smallest and the largest number, and whether there is anything to paint. */
export interface HeatRange {
  readonly min: number;
  readonly max: number;
  readonly state: 'ok' | 'flat' | 'nan';
}

/** Looks at the numbers themselves: `nan` where any is not finite, `flat` where all are equal or there is none. */
export function rangeOf(data: Float32Array): HeatRange {
  let min = Infinity;
  let max = -Infinity;
  for (const value of data) {
    if (!Number.isFinite(value)) return { min: NaN, max: NaN, state: 'nan' };
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { min, max, state: max > min ? 'ok' : 'flat' };
}

/** How the numbers between grid points are found. `nearest` shows the grid as the model has it. */
export type Interpolation = 'bilinear' | 'nearest';

/**
 * The taps of pixels [0, pixels) over a grid of `cells` that covers [start, start + extent) in pixel coordinates.
 *
 * Both sides count from half-pixel centers (`align_corners=False` of PyTorch, and what OpenCV and Pillow do), so a cell
 * of the map lies over just those pixels that it was computed from; past the outermost centers the edge value goes on.
 */
export function axisTaps(
  pixels: number,
  start: number,
  extent: number,
  cells: number,
  interpolation: Interpolation,
): AxisTaps {
  const low = new Int32Array(pixels);
  const high = new Int32Array(pixels);
  const mix = new Float32Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const place = ((pixel + 0.5 - start) / extent) * cells;
    if (interpolation === 'nearest') {
      low[pixel] = high[pixel] = Math.min(cells - 1, Math.max(0, Math.floor(place)));
      continue;
    }
    const clamped = Math.min(cells - 1, Math.max(0, place - 0.5));
    low[pixel] = Math.floor(clamped);
    high[pixel] = Math.min(cells - 1, low[pixel]! + 1);
    mix[pixel] = clamped - low[pixel]!;
  }
  return { low, high, mix };
}

/** A number for a legend or a caption: three significant digits, without needless zeros. */
export function shortNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}
