import { z } from 'zod';

import { mean, noise } from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { seed } from '../fields.js';
import { defineMethod } from '../method.js';
import { hasReadableLayer } from './conditions.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { activationsOf } from './target-layer.js';

/**
 * Random-CAM: channels weighted by random numbers between -1 and 1, negative parts cut off. The baseline that a CAM
 * must beat; it knows neither the class nor the model after the layer. Every image of a batch gets the same weights.
 */
export const randomCam = defineMethod({
  name: 'random-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** The weights are 2 torch.rand(channels) - 1 after manual_seed(seed * 1000003). */
    seed: seed.default(0),
  }),
  usesLayer: true,
  isClassSpecific: false,
  reasonAgainst: hasReadableLayer,
  map: ({ model, layer, options }) => {
    const activations = activationsOf(model, layer);
    const weights = noise(mean(activations, SPACE), 0, options.seed, 'uniform').mul(2).sub(1);
    return combineChannels(activations.mul(weights), options);
  },
});
