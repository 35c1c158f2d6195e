import { z } from 'zod';

import { accumulate, equal, grad, maximum, noise, power, relu, select, square, stack, sum, type Value } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { combineChannels, pipelineOptions } from './pipeline.js';

const SPACE = ['height', 'width'] as const;

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
    samples: z.int({ error: 'a whole number of at least 1 is expected' }).min(1, { error: 'at least 1 sample is needed' }).max(100_000, { error: 'at most 100000 are taken' }).default(4),
    /** Standard deviation of the noise, of pixels as the model gets them. */
    noiseLevel: z.number({ error: 'a number of at least 0 is expected' }).min(0, { error: 'a standard deviation is at least 0' }).default(0.3),
    /** Of the noise: the same seed gives the same map. */
    seed: z.int({ error: 'a whole number of at least 0 is expected' }).min(0, { error: 'a seed is at least 0' }).max(2 ** 31 - 1, { error: 'a seed is at most 2147483647' }).default(0),
    /** The last noisy image's gradient and activations where means, and those of the image itself, are meant. */
    compat: z.enum(['torch-cam'], { error: "'torch-cam' is expected" }).optional(),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, layer, options }) => {
    const { samples, noiseLevel, seed, compat } = options;
    const features = model.spatial(model.output.feature(layer), layer);
    const sums = accumulate(model.image, samples, (sample) => {
      const run = model.run(model.image.add(noise(model.image, sample, seed, 'normal').mul(noiseLevel)));
      const feature = run.feature(layer);
      const isLast = relu(sample.sub(samples - 2));
      const lastFeatures = model.spatial(feature, layer).mul(isLast);
      const gradient = model.spatial(grad(run.score, feature), layer);
      const moments = [square(gradient), power(gradient, 3)];
      return stack(compat === undefined ? [...moments, gradient] : [...moments, gradient.mul(isLast), lastFeatures], 'sums');
    });
    const [second, third] = [select(sums, 'sums', 0).div(samples), select(sums, 'sums', 1).div(samples)];
    if (compat) {
      // One sum for a channel, of activations times third derivatives; the definition multiplies their sums.
      const alpha = second.div(second.mul(2).add(sum(third.mul(features), SPACE)).add(1e-8));
      const weights = sum(alpha.mul(relu(select(sums, 'sums', 2))), SPACE);
      return combineChannels(select(sums, 'sums', 3).mul(weights), options);
    }
    // Features of at least 0 give an alpha of at most 1/2. Those of a ViT have both signs, and a denominator that crosses 0
    // would leave the map to rounding: alpha is at most 1.
    const alpha = quotient(second, maximum(second, second.mul(2).add(third.mul(sum(features, SPACE)))));
    const weights = sum(alpha.mul(relu(select(sums, 'sums', 2).div(samples))), SPACE);
    return combineChannels(features.mul(weights), options);
  },
});

/** a / b, and a where b is 0: an epsilon would not do, since squared gradients of a large map are smaller than most. */
function quotient(a: Value, b: Value): Value {
  return a.div(b.add(equal(b, b.mul(0))));
}
