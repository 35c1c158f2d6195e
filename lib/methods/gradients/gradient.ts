import { z } from 'zod';

import { grad } from '../../symbolic/index.js';
import { hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { channelsSchema, overChannels } from './channels.js';

/**
 * Saliency: the class score's gradient with respect to each pixel, the largest magnitude of its colour channels.
 *
 * Simonyan, Vedaldi & Zisserman, Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency
 * Maps, ICLR workshop 2014.
 */
export const gradient = defineMethod({
  name: 'gradient',
  options: z.strictObject({
    /** How the colour channels become one number. */
    channels: channelsSchema.default('max-abs'),
  }),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: hasGradients,
  map: ({ model, options }) => {
    const run = model.output;
    return overChannels(grad(run.score, run.image), options.channels);
  },
});
