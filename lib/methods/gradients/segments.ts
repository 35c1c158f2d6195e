import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import {
  constant,
  expandLike,
  felzenszwalb,
  fullLike,
  lowest,
  select,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { bothWays, count, oneOf, pixels, seed, type Pixels } from '../fields.js';
import { baselineSchema, type Baseline } from './baseline.js';
import { comparedColors, SMOOTHING } from './segmentation.js';

const SCALE = 'a number above 0 is expected';

/** Options of methods that hide segments of the image. */
export const segmentFields = {
  /** Masked images, and runs of the model, for each image. */
  samples: count(1),
  /** Parts that are hidden or shown as a whole: `superpixels`, of one color each, or `patches`, the cells of a grid. */
  segments: oneOf('superpixels', 'patches'),
  /** Cells of the grid of patches, or [down, across]. */
  grid: pixels,
  /** Scale of the superpixels by Felzenszwalb and Huttenlocher, without a unit: the larger, the larger they are. */
  scale: z.number({ error: SCALE }).positive({ error: SCALE }),
  /** Superpixels of fewer pixels are joined to a neighbor. */
  smallest: count(1),
  /**
   * The values where the image is hidden: `zero` (the model's mean color), `black`, `white`, `blur` or
   * `{ blur: pixels }`, a number or one per color channel, after normalization.
   */
  baseline: baselineSchema,
  /** Of the masks: the same seed gives the same map. */
  seed,
};

export const SEGMENT_DEFAULTS = {
  samples: 1000,
  segments: 'superpixels',
  grid: 7,
  scale: 250,
  smallest: 150,
  baseline: 'zero',
  seed: 0,
} as const;

export interface SegmentSettings {
  readonly samples: number;
  readonly segments: 'superpixels' | 'patches';
  readonly grid: Pixels;
  readonly scale: number;
  readonly smallest: number;
  readonly baseline: Baseline;
  readonly seed: number;
}

/** Segments of images: each pixel's number, [batch, height, width], and how many there are, [batch] or of all. */
export interface Segments {
  readonly labels: Value;
  readonly count: Value | number;
}

/** @throws SightlineError INVALID_OPTION for a grid finer than the image */
export function segmentsOf(model: SymbolicModel, method: string, options: SegmentSettings): Segments {
  if (options.segments === 'superpixels') {
    const { labels, count } = felzenszwalb(comparedColors(model), {
      scales: [options.scale],
      sigma: SMOOTHING,
      smallest: options.smallest,
    });
    return { labels: select(labels, 'scales', 0), count };
  }
  const { height, width } = model.inspection;
  const [down, across] = bothWays(options.grid);
  if (down > height || across > width) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The grid of ${method}, ${down} x ${across} cells, is finer than the model's input of ${height} x ${width} pixels; choose a coarser one.`,
    );
  }
  const labels = Float32Array.from({ length: height * width }, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return Math.floor((row * down) / height) * across + Math.floor((column * across) / width);
  });
  const places = select(model.image, 'channels', 0);
  return { labels: expandLike(constant(model.image, labels, { height, width }), places), count: down * across };
}

/** How many segments each image has, [batch]: a figure of the map. */
export function countOf(model: SymbolicModel, { count }: Segments): Value {
  return typeof count === 'number' ? fullLike(lowest(model.image), count) : count;
}
