import { z } from 'zod';

import { compatWith } from '../compat/peers.js';
import * as pytorchGradCam from '../compat/pytorch-grad-cam.js';
import * as torchCam from '../compat/torch-cam.js';
import * as xplique from '../compat/xplique.js';
import { all, gradientReachesLayer, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod, type MapOf } from '../method.js';
import { combineChannels, pipelineOptions, type PipelineSettings } from './pipeline.js';
import { readLayer } from './target-layer.js';
import { byPlaces, type Weighting } from './weightings.js';

/** The map with that alpha, or with the paper's. */
const mapBy =
  (alpha?: Weighting): MapOf<PipelineSettings> =>
  ({ model, layer, options }) =>
    combineChannels(byPlaces(alpha)(readLayer(model, layer)), options);

/**
 * Grad-CAM++: a channel's weight is the sum over space of its positive gradients, each times an alpha. Alpha evens out
 * how many places a channel is active at. Closed form for a score that passes through an exponential.
 *
 * Chattopadhay et al., Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks, WACV
 * 2018, equations 10, 17 and 19.
 */
export const gradCamPlusPlus = defineMethod({
  name: 'grad-cam++',
  options: z.strictObject({
    ...pipelineOptions,
    /**
     * `pytorch-grad-cam`: 1e-6 in the denominator; `torch-cam`: alpha is g²; `xplique`: mean in place of sum of
     * activations.
     */
    compat: compatWith('pytorch-grad-cam', 'torch-cam', 'xplique'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer, gradientReachesLayer),
  map: mapBy(),
  compat: {
    'pytorch-grad-cam': mapBy(pytorchGradCam.placeWeights),
    'torch-cam': mapBy(torchCam.placeWeights),
    xplique: mapBy(xplique.placeWeights),
  },
});
