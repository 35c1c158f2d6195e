import { abs, grad, square, type Value } from '../../symbolic/index.js';
import { all, gradientReachesImage, hasGradients } from '../conditions.js';
import { count, noise, oneOf, seed } from '../fields.js';
import { defineMethod } from '../method.js';
import { meanOverNoise } from '../noisy-images.js';
import { withPresets } from '../presets.js';
import { channelsSchema, overChannels } from './channels.js';

/** What of each gradient is averaged. */
const AVERAGED = { gradient: (value: Value): Value => value, absolute: abs, square };

/**
 * SmoothGrad: the mean gradient over noisy copies of the image. With `average: 'square'` SmoothGrad squared, the mean
 * of the squares.
 *
 * Smilkov et al., SmoothGrad: removing noise by adding noise, 2017. Squares: Hooker et al., A Benchmark for
 * Interpretability Methods in Deep Neural Networks, NeurIPS 2019.
 */
export const smoothGrad = defineMethod({
  name: 'smooth-grad',
  options: withPresets(
    {
      /** Noisy copies of each image. */
      samples: count(1),
      /** Standard deviation of the Gaussian noise, in `noiseUnit`. */
      noise,
      /**
       * `range`: a share of the difference between the image's largest and smallest value; `absolute`: the model's
       * input units.
       */
      noiseUnit: oneOf('range', 'absolute'),
      /** Of the noise: the same seed gives the same map. */
      seed,
      /** The quantity that is averaged: the gradient with its sign, its magnitude, or its square. */
      average: oneOf('gradient', 'absolute', 'square'),
      /** How the color channels become one number. */
      channels: channelsSchema,
    },
    { samples: 50, noise: 0.15, noiseUnit: 'range', seed: 0, average: 'gradient', channels: 'sum-abs' },
    {
      packages: {
        // NoiseTunnel around Saliency, which takes magnitudes first.
        captum: { samples: 5, noise: 1, noiseUnit: 'absolute', average: 'absolute', channels: 'sum' },
        xplique: { samples: 50, noise: 0.2, noiseUnit: 'absolute', channels: 'mean' },
        // The authors' package squares by default.
        pair: { samples: 25, average: 'square' },
      },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, gradientReachesImage),
  map: ({ model, options }) => {
    const { average } = meanOverNoise(model, options, (run) => ({
      average: AVERAGED[options.average](grad(run.score, run.image)),
    }));
    return overChannels(average, options.channels);
  },
});
