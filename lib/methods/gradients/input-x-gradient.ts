import { z } from 'zod';

import { grad } from '../../symbolic/index.js';
import { all, gradientReachesImage, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { channelsSchema, overChannels } from './channels.js';

/**
 * Input times gradient: each pixel's first-order share of the score, with its sign. In a model without biases the
 * shares sum to the score.
 *
 * Shrikumar et al., Not Just a Black Box: Learning Important Features Through Propagating Activation Differences, 2016.
 */
export const inputXGradient = defineMethod({
  name: 'input-x-gradient',
  options: z.strictObject({
    /** How the color channels become one number. The sum keeps the shares' total. */
    channels: channelsSchema.default('sum'),
  }),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, gradientReachesImage),
  map: ({ model, options }) => {
    const run = model.output;
    return overChannels(model.image.mul(grad(run.score, run.image)), options.channels);
  },
});
