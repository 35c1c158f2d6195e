import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { accumulate } from '../../symbolic/index.js';
import * as xplique from '../compat/xplique.js';
import { bothWays, count, oneOf, pixels, seed, type Pixels } from '../fields.js';
import { defineMethod, type MapOf } from '../method.js';
import { withPresets } from '../presets.js';
import { baselineOf, baselineSchema, masked, type Baseline } from './baseline.js';
import { randomMasks, type MakeMasks } from './random-masks.js';

/** A place that no mask shows gets 0. */
const EPSILON = 1e-4;
const SHARE = 'a number above 0 and below 1 is expected';

interface Settings {
  readonly masks: number;
  readonly grid: Pixels;
  readonly probability: number;
  readonly baseline: Baseline;
  readonly denominator: 'coverage' | 'expected';
  readonly seed: number;
}

/** The sum over masks M of M y(M x), by the sum of M or its expectation. */
const mapBy =
  (makeMasks: MakeMasks): MapOf<Settings> =>
  ({ model, options }) => {
    const { image } = model;
    const { height, width } = model.inspection;
    const { masks, probability, seed } = options;
    const grid = bothWays(options.grid);
    if (grid[0] > height || grid[1] > width) {
      throw new SightlineError(
        'INVALID_OPTION',
        `The grid of rise, ${grid.join(' x ')} cells, is finer than the model's input of ${height} x ${width} pixels; choose a coarser one.`,
      );
    }
    const maskOf = makeMasks({ image: [height, width], grid, probability, seed });
    const baseline = baselineOf(model, options.baseline);
    const { scores, coverage } = accumulate(image, masks, (sample) => {
      const mask = maskOf(sample);
      return { scores: mask.mul(model.run(masked(image, mask, baseline)).score), coverage: mask };
    });
    return scores.div(options.denominator === 'expected' ? masks * probability : coverage.add(EPSILON));
  };

/**
 * RISE: the mean score of randomly masked images, at each pixel over the masks that show it, weighted by how much they
 * do. Masks are coarse random grids, smoothly enlarged and cut at a random offset. Needs no gradients.
 *
 * Petsiuk, Das & Saenko, RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018. The paper
 * reads probabilities: `score: 'probability'`.
 */
export const rise = defineMethod({
  name: 'rise',
  options: withPresets(
    {
      /** Masks, and runs of the model, for each image. */
      masks: count(1),
      /** Cells of the coarse grid, or [down, across]. */
      grid: pixels,
      /** How likely each cell shows the image; above 0, below 1. */
      probability: z.number({ error: SHARE }).gt(0, { error: SHARE }).lt(1, { error: SHARE }),
      /**
       * The values where the image is masked: `zero` (the model's mean color), `black`, `white`, `blur` or
       * `{ blur: pixels }`, a number or one per color channel, after normalization.
       */
      baseline: baselineSchema,
      /**
       * The divisor of the sum: `coverage`, how much each pixel was shown; `expected`, as in the paper: masks times
       * probability.
       */
      denominator: oneOf('coverage', 'expected'),
      /** Of the masks: the same seed gives the same map. */
      seed,
    },
    { masks: 4000, grid: 7, probability: 0.5, baseline: 'zero', denominator: 'coverage', seed: 0 },
    { packages: { xplique: {} } },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: () => null,
  map: mapBy(randomMasks),
  compat: { xplique: mapBy(xplique.masks) },
});
