import { abs, grad, relu, square, type Run, type Value } from '../../symbolic/index.js';
import { all, gradientReachesImage, hasGradients } from '../conditions.js';
import { count, flag, noise, oneOf, seed } from '../fields.js';
import { defineMethod } from '../method.js';
import { meanOverNoise } from '../noisy-images.js';
import { withPresets } from '../presets.js';
import { channelsSchema, overChannels } from './channels.js';

/**
 * VarGrad: the variance of the gradient over noisy copies of the image.
 *
 * Adebayo et al., Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values, ICLR
 * workshop 2018.
 */
export const varGrad = defineMethod({
  name: 'var-grad',
  options: withPresets(
    {
      /** Noisy copies of each image. */
      samples: count(2),
      /** Standard deviation of the Gaussian noise, in `noiseUnit`. */
      noise,
      /**
       * `range`: a share of the difference between the image's largest and smallest value; `absolute`: the model's
       * input units.
       */
      noiseUnit: oneOf('range', 'absolute'),
      /** Of the noise: the same seed gives the same map. */
      seed,
      /** Whose variance: the gradient's with its sign, or its magnitude's. */
      of: oneOf('gradient', 'absolute'),
      /** Divides by samples - 1 rather than by samples: a factor that only raw maps show. */
      unbiased: flag,
      /** How the color channels become one number. */
      channels: channelsSchema,
    },
    { samples: 50, noise: 0.15, noiseUnit: 'range', seed: 0, of: 'gradient', unbiased: true, channels: 'sum' },
    {
      packages: {
        captum: { samples: 5, noise: 1, noiseUnit: 'absolute', of: 'absolute', unbiased: false },
        xplique: { samples: 50, noise: 0.2, noiseUnit: 'absolute', channels: 'mean' },
      },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, gradientReachesImage),
  map: ({ model, options }) => {
    const { samples, of } = options;
    const gradientOf = (run: Run): Value =>
      (of === 'absolute' ? abs : (value: Value) => value)(grad(run.score, run.image));
    // Deviations from the gradient at the image itself: the mean square less the squared mean of the gradients
    // themselves cancels most digits where the gradient is large and varies little.
    const clean = gradientOf(model.output);
    const { first, second } = meanOverNoise(model, options, (run) => {
      const deviation = gradientOf(run).sub(clean);
      return { first: deviation, second: square(deviation) };
    });
    const variance = relu(second.sub(square(first)));
    return overChannels(options.unbiased ? variance.mul(samples / (samples - 1)) : variance, options.channels);
  },
});
