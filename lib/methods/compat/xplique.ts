/** What xplique (DEEL) computes otherwise than the papers say. */
import { mean, quotient } from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import type { Weighting } from '../cam/weightings.js';
import { drawsOfMask, maskOfDraws, type MakeMasks } from '../gradients/random-masks.js';
import { divideOrZero } from '../safe-division.js';

/** Grad-CAM++: alpha by the mean in place of the sum of activations. */
export const placeWeights: Weighting = ({ activations, gradients }) =>
  divideOrZero(1, gradients.mul(mean(activations, SPACE)).add(2));

/** It computes this many masks at once, and cuts all of them at one offset. */
const CHUNK = 32;

/** RISE: the grid enlarged by a share in place of whole cells, and offsets shared by the masks of a chunk. */
export const masks: MakeMasks = ({ image: [height, width], grid: [down, across], probability, seed }) => {
  const size = [Math.floor(height * (1 + 1 / down)), Math.floor(width * (1 + 1 / across))] as const;
  const enlarged = { size, offsets: [size[0] - height + 1, size[1] - width + 1] } as const;
  const cells = { down, across };
  return (sample) =>
    maskOfDraws(drawsOfMask(sample, cells, seed), drawsOfMask(quotient(sample, CHUNK), cells, seed), {
      cells,
      enlarged,
      image: [height, width],
      probability,
    });
};
