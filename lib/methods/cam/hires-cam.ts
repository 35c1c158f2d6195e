import { z } from 'zod';

import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { readLayer } from './target-layer.js';

/**
 * HiResCAM: activations times gradients, place by place, summed over channels, negative parts cut off. No gradient is
 * averaged over space, so on a linear head the map adds up to the class score.
 *
 * Draelos & Carin, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks, 2020.
 */
export const hiResCam = defineMethod({
  name: 'hires-cam',
  options: z.strictObject({ ...pipelineOptions }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, layer, options }) => {
    const { activations, gradients } = readLayer(model, layer);
    return combineChannels(activations.mul(gradients), options);
  },
});
