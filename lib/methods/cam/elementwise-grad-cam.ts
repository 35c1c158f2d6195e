import { z } from 'zod';

import { relu } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { readLayer } from './target-layer.js';

/**
 * Element-wise Grad-CAM: activations times gradients, place by place, negative parts cut off before the sum over
 * channels, so that no channel cancels another.
 *
 * A variant of the pytorch-grad-cam project, without a paper.
 */
export const elementwiseGradCam = defineMethod({
  name: 'elementwise-grad-cam',
  options: z.strictObject({ ...pipelineOptions }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, layer, options }) => {
    const { activations, gradients } = readLayer(model, layer);
    return combineChannels(relu(activations.mul(gradients)), options);
  },
});
