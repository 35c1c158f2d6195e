import { z } from 'zod';

import { clamp, mean, power, relu, square, sum, type Value } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { compatWith, type Peer } from './compat.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { reciprocalOrZero } from './safe-division.js';
import { readLayer, type LayerReading } from './target-layer.js';

const SPACE = ['height', 'width'] as const;

/** The paper's alpha at each place, g² / (2 g² + S g³), or what a peer computes in its stead. */
function placeWeights({ activations, gradients }: LayerReading, compat: Peer | undefined): Value {
  switch (compat) {
    case 'pytorch-grad-cam': {
      const squared = square(gradients);
      return squared.div(squared.mul(2).add(squared.mul(gradients).mul(sum(activations, SPACE))).add(1e-6));
    }
    case 'torch-cam':
      // Its division works on a copy, so g² itself is what it multiplies by.
      return square(gradients);
    case 'xplique':
      return reciprocalOrZero(gradients.mul(mean(activations, SPACE)).add(2));
    default:
      // g² cancels, which keeps the small gradients of a pooled layer from drowning in an epsilon. Behind a ReLU the
      // denominator is at least 2 wherever a gradient counts; of features with signs it may pass through 0, and alpha
      // through infinity: there alpha ends at 1.
      return power(clamp(gradients.mul(sum(activations, SPACE)).add(2), 1, Infinity), -1);
  }
}

/** Each channel times the sum over space of alpha times its positive gradient. */
export function weightedByPlaces(reading: LayerReading, compat?: Peer): Value {
  const weights = sum(placeWeights(reading, compat).mul(relu(reading.gradients)), SPACE);
  return reading.activations.mul(weights);
}

/**
 * Grad-CAM++: a channel's weight is the sum over space of its positive gradients, each times an alpha that evens out
 * how many places a channel is active at. Closed form for a score that passes through an exponential.
 *
 * Chattopadhay et al., Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks, WACV
 * 2018, equations 10, 17 and 19.
 */
export const gradCamPlusPlus = defineMethod({
  name: 'grad-cam++',
  options: z.strictObject({
    ...pipelineOptions,
    /** `pytorch-grad-cam`: 1e-6 in the denominator; `torch-cam`: alpha is g²; `xplique`: mean in place of sum of activations. */
    compat: compatWith('pytorch-grad-cam', 'torch-cam', 'xplique'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, layer, options }) => combineChannels(weightedByPlaces(readLayer(model, layer), options.compat), options),
});
