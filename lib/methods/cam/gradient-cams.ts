import { z } from 'zod';

import { relu } from '../../symbolic/index.js';
import { all, gradientReachesLayer, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { readLayer } from './target-layer.js';
import type { Weighting } from './weightings.js';

/** A CAM that weighs activations by their gradients, without options of its own. */
const gradientCam = ({ name, weighted }: { readonly name: string; readonly weighted: Weighting }) =>
  defineMethod({
    name,
    options: z.strictObject({ ...pipelineOptions }),
    usesLayer: true,
    isClassSpecific: true,
    reasonAgainst: all(hasGradients, hasTargetLayer, gradientReachesLayer),
    map: ({ model, layer, options }) => combineChannels(weighted(readLayer(model, layer)), options),
  });

/**
 * HiResCAM: activations times gradients, place by place, summed over channels, negative parts cut off. No gradient is
 * averaged over space, so on a linear head the map adds up to the class score.
 *
 * Draelos & Carin, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks, 2020.
 */
export const hiResCam = gradientCam({
  name: 'hires-cam',
  weighted: ({ activations, gradients }) => activations.mul(gradients),
});

/**
 * Element-wise Grad-CAM: activations times gradients, place by place, negative parts cut off before the sum over
 * channels, so that no channel cancels another.
 *
 * A variant of the pytorch-grad-cam project, without a paper.
 */
export const elementwiseGradCam = gradientCam({
  name: 'elementwise-grad-cam',
  weighted: ({ activations, gradients }) => relu(activations.mul(gradients)),
});
