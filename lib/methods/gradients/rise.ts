import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { accumulate, concatenate, constant, crop, floor, greater, narrow, noise, pick, select, split, stack, take, upsample, type Value } from '../../symbolic/index.js';
import { defineMethod } from '../method.js';
import { baselineOf, baselineSchema, masked } from './baseline.js';
import { bothWays, count, pixels, seedSchema } from './numbers.js';
import { withPresets } from './presets.js';

/** A place that no mask shows gets 0. */
const EPSILON = 1e-4;
/** xplique computes this many masks at once, and cuts all of them at one offset. */
const XPLIQUE_CHUNK = 32;
const SHARE = 'a number above 0 and below 1 is expected';

/**
 * RISE: the mean score of randomly masked images, at each pixel over the masks that show it, weighted by how much they do.
 * Masks are coarse random grids, smoothly enlarged and cut at a random offset. Needs no gradients.
 *
 * Petsiuk, Das & Saenko, RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018. The paper reads
 * probabilities: `score: 'probability'`.
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
      /** What is seen where the image is not: `zero` (the model's mean colour), `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per colour channel, after normalisation. */
      baseline: baselineSchema,
      /** What the sum is divided by: `coverage`, how much each pixel was shown; `expected`, as in the paper: masks times probability. */
      denominator: z.enum(['coverage', 'expected'], { error: "'coverage' or 'expected' is expected" }),
      seed: seedSchema,
    },
    { masks: 4000, grid: 7, probability: 0.5, baseline: 'zero', denominator: 'coverage', seed: 0 },
    { xplique: {} },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: () => null,
  map: ({ model, options }) => {
    const { image } = model;
    const { height, width } = model.inspection;
    const { masks, probability, seed, compat } = options;
    const [down, across] = bothWays(options.grid);
    if (down > height || across > width) {
      throw new SightlineError('INVALID_OPTION', `The grid of rise, ${down} x ${across} cells, is finer than the model's input of ${height} x ${width} pixels; choose a coarser one.`);
    }
    // The grid is enlarged by one cell more than the image holds, so that it can be cut at any offset up to a cell.
    const enlarged = (length: number, cells: number): number => (compat === 'xplique' ? Math.floor(length * (1 + 1 / cells)) : (cells + 1) * Math.ceil(length / cells));
    const sizes = [enlarged(height, down), enlarged(width, across)] as const;
    const offsets = compat === 'xplique' ? [sizes[0] - height + 1, sizes[1] - width + 1] : [Math.ceil(height / down), Math.ceil(width / across)];

    const cells = down * across;
    const shape = constant(image, new Float32Array(cells + 2), { one: 1, draws: cells + 2 });
    /** What one mask is made of, [batch, draws]: a number for each cell, and two for the offset. */
    const draw = (sample: Value): Value => noise(take(shape, sample.mul(0)), sample, seed, 'uniform');
    const offset = (draws: Value, axis: 0 | 1): Value => floor(select(draws, 'draws', cells + axis).mul(offsets[axis]!));
    const shared = compat === 'xplique' ? concatenate(image, Math.ceil(masks / XPLIQUE_CHUNK), draw) : null;

    const baseline = baselineOf(model, options.baseline);
    const sums = accumulate(image, masks, (sample) => {
      const draws = draw(sample);
      const places = shared === null ? draws : pick(shared, floor(sample.add(0.5).div(XPLIQUE_CHUNK)));
      const grid = split(narrow(draws, 'draws', 0, cells), 'draws', { height: down, width: across });
      const shows = greater(grid.mul(0).add(probability), grid);
      const mask = crop(upsample(shows, sizes[0], sizes[1]), offset(places, 0), offset(places, 1), height, width);
      return stack([mask.mul(model.run(masked(image, mask, baseline)).score), mask], 'part');
    });
    const scores = select(sums, 'part', 0);
    if (options.denominator === 'expected') return scores.div(masks * probability);
    return scores.div(select(sums, 'part', 1).add(EPSILON));
  },
});
