import { z } from 'zod';

import { grad } from '../../symbolic/index.js';
import { hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { channelsSchema, overChannels } from './channels.js';

/**
 * Deconvolutional network: the gradient with respect to each pixel, where every ReLU lets back the positive gradients,
 * whatever its activation was. Smooth activations (GELU, SiLU) are treated as ReLUs are.
 *
 * Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.
 */
export const deconvnet = defineMethod({
  name: 'deconvnet',
  options: z.strictObject({
    /** How the colour channels become one number. */
    channels: channelsSchema.default('max-abs'),
  }),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: hasGradients,
  map: ({ model, options }) => {
    const run = model.run(model.image, { rule: 'deconvnet' });
    return overChannels(grad(run.score, run.image), options.channels);
  },
});
