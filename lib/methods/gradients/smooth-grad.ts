import { z } from 'zod';

import { square } from '../../symbolic/index.js';
import { hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { channelsSchema, overChannels } from './channels.js';
import { meanOverNoise, noisyFields, READINGS } from './noisy.js';
import { count } from './numbers.js';
import { withPresets } from './presets.js';

const AVERAGED = { ...READINGS, square };

/**
 * SmoothGrad: the mean gradient over noisy copies of the image. With `average: 'square'` SmoothGrad squared, the mean of
 * the squares.
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
      ...noisyFields,
      /** What is averaged: the gradient with its sign, its magnitude, or its square. */
      average: z.enum(['gradient', 'absolute', 'square'], { error: "'gradient', 'absolute' or 'square' is expected" }),
      /** How the colour channels become one number. */
      channels: channelsSchema,
    },
    { samples: 50, noise: 0.15, noiseUnit: 'range', seed: 0, average: 'gradient', channels: 'sum-abs' },
    {
      // NoiseTunnel around Saliency, which takes magnitudes first.
      captum: { samples: 5, noise: 1, noiseUnit: 'absolute', average: 'absolute', channels: 'sum' },
      xplique: { samples: 50, noise: 0.2, noiseUnit: 'absolute', channels: 'mean' },
      // The authors' package squares unless told otherwise.
      pair: { samples: 25, average: 'square' },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: hasGradients,
  map: ({ model, options }) => overChannels(meanOverNoise(model, options, AVERAGED[options.average]), options.channels),
});
