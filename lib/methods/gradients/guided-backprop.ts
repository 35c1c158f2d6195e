import { z } from 'zod';

import { grad } from '../../symbolic/index.js';
import { hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { channelsSchema, overChannels } from './channels.js';

/**
 * Guided backpropagation: the gradient with respect to each pixel, where every ReLU lets back only positive gradients
 * through, and those only where it let the activation through. Smooth activations (GELU, SiLU) are treated as ReLUs are:
 * what their derivative lets back is cut to its positive part.
 *
 * Springenberg et al., Striving for Simplicity: The All Convolutional Net, ICLR workshop 2015.
 */
export const guidedBackprop = defineMethod({
  name: 'guided-backprop',
  options: z.strictObject({
    /** How the colour channels become one number. */
    channels: channelsSchema.default('max-abs'),
  }),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: hasGradients,
  map: ({ model, options }) => {
    const run = model.run(model.image, { rule: 'guided-backprop' });
    return overChannels(grad(run.score, run.image), options.channels);
  },
});
