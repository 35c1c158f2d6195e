import { z } from 'zod';

import { grad, relu, select, square, stack } from '../../symbolic/index.js';
import { hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { channelsSchema, overChannels } from './channels.js';
import { meanOverNoise, noisyFields, READINGS } from './noisy.js';
import { count } from './numbers.js';
import { withPresets } from './presets.js';

/**
 * VarGrad: the variance of the gradient over noisy copies of the image.
 *
 * Adebayo et al., Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values, ICLR workshop
 * 2018.
 */
export const varGrad = defineMethod({
  name: 'var-grad',
  options: withPresets(
    {
      /** Noisy copies of each image. */
      samples: count(2),
      ...noisyFields,
      /** Whose variance: the gradient's with its sign, or its magnitude's. */
      of: z.enum(['gradient', 'absolute'], { error: "'gradient' or 'absolute' is expected" }),
      /** Divides by samples - 1 rather than by samples: a factor that only raw maps show. */
      unbiased: z.boolean({ error: 'true or false is expected' }),
      /** How the colour channels become one number. */
      channels: channelsSchema,
    },
    { samples: 50, noise: 0.15, noiseUnit: 'range', seed: 0, of: 'gradient', unbiased: true, channels: 'sum' },
    {
      captum: { samples: 5, noise: 1, noiseUnit: 'absolute', of: 'absolute', unbiased: false },
      xplique: { samples: 50, noise: 0.2, noiseUnit: 'absolute', channels: 'mean' },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: hasGradients,
  map: ({ model, options }) => {
    const read = READINGS[options.of];
    // Deviations from the gradient at the image itself: the mean square less the squared mean of the gradients themselves
    // cancels most digits where the gradient is large and varies little.
    const clean = read(grad(model.output.score, model.output.image));
    const moments = meanOverNoise(model, options, (gradient) => {
      const deviation = read(gradient).sub(clean);
      return stack([deviation, square(deviation)], 'moment');
    });
    const variance = relu(select(moments, 'moment', 1).sub(square(select(moments, 'moment', 0))));
    const { samples } = options;
    return overChannels(options.unbiased ? variance.mul(samples / (samples - 1)) : variance, options.channels);
  },
});
