import { z } from 'zod';

import { greater, mean, sqrt, square } from '../../symbolic/index.js';
import { defineMethod } from '../method.js';
import { compatWith } from './compat.js';
import { hasReadableLayer } from './conditions.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { activationsOf } from './target-layer.js';

const SPACE = ['height', 'width'] as const;

/**
 * FEM, the Feature Explanation Method: places where a channel is unusually strong (at least mean + `sigmas` standard
 * deviations over space) count by the channel's mean, summed over channels. Not class-specific.
 *
 * Fuad et al., Features Understanding in 3D CNNs for Actions Recognition in Video, IPTA 2020.
 */
export const fem = defineMethod({
  name: 'fem',
  options: z.strictObject({
    ...pipelineOptions,
    /** How many standard deviations above its mean a channel is unusually strong. */
    sigmas: z.number().min(0).default(2),
    /** `pytorch-grad-cam`: activations weighted by the share of strong places, negative parts cut off. */
    compat: compatWith('pytorch-grad-cam'),
  }),
  usesLayer: true,
  isClassSpecific: false,
  reasonAgainst: hasReadableLayer,
  map: ({ model, layer, options: { sigmas, compat, eigenSmoothing } }) => {
    const activations = activationsOf(model, layer);
    const average = mean(activations, SPACE);
    const deviation = sqrt(mean(square(activations.sub(average)), SPACE));
    const threshold = average.add(deviation.mul(sigmas));
    if (compat) return combineChannels(activations.mul(mean(greater(activations, threshold), SPACE)), { eigenSmoothing });
    const isStrong = greater(threshold, activations).mul(-1).add(1);
    return combineChannels(isStrong.mul(average), { eigenSmoothing, signed: true });
  },
});
