import { z } from 'zod';

import { grad, maximum, power, relu, square, sum } from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { compatWith } from '../compat/peers.js';
import * as torchCam from '../compat/torch-cam.js';
import { all, gradientReachesLayer, hasGradients, hasTargetLayer } from '../conditions.js';
import { count, noise, seed } from '../fields.js';
import { defineMethod } from '../method.js';
import { meanOverNoise } from '../noisy-images.js';
import { divideOrZero } from '../safe-division.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { activationsOf } from './target-layer.js';

/**
 * Smooth Grad-CAM++: Grad-CAM++ with the moments of the gradient averaged over noisy images.
 *
 * Omeiza et al., Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep Convolutional Neural
 * Network Models, arXiv:1908.01224, 2019, with Grad-CAM++'s numerator, the second derivative.
 */
export const smoothGradCamPlusPlus = defineMethod({
  name: 'smooth-grad-cam++',
  options: z.strictObject({
    ...pipelineOptions,
    /** Noisy images, and so runs of the model forwards and backwards. */
    samples: count(1).default(4),
    /** Standard deviation of the noise, of pixels as the model gets them. */
    noise: noise.default(0.3),
    /** Of the noise: the same seed gives the same map. */
    seed: seed.default(0),
    /** The last noisy image's gradient and activations where means, and those of the image itself, are meant. */
    compat: compatWith('torch-cam'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer, gradientReachesLayer),
  map: ({ model, layer, options }) => {
    const activations = activationsOf(model, layer);
    const { first, second, third } = meanOverNoise(model, options, (run) => {
      const gradient = model.spatial(grad(run.score, run.feature(layer)), layer);
      return { first: gradient, second: square(gradient), third: power(gradient, 3) };
    });
    const denominator = second.mul(2).add(third.mul(sum(activations, SPACE)));
    // Features of at least 0 give an alpha of at most 1/2. Those of a ViT have both signs, and a denominator that
    // crosses 0 would leave the map to rounding: alpha is at most 1. Squared gradients of a large map are smaller than
    // most epsilons.
    const alpha = divideOrZero(second, maximum(second, denominator), 0);
    return combineChannels(activations.mul(sum(alpha.mul(relu(first)), SPACE)), options);
  },
  compat: { 'torch-cam': torchCam.smoothGradCamPlusPlus },
});
