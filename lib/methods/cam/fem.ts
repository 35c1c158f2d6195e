import { z } from 'zod';

import { greaterEqual } from '../../symbolic/index.js';
import { compatWith } from '../compat/peers.js';
import * as pytorchGradCam from '../compat/pytorch-grad-cam.js';
import { notNegative } from '../fields.js';
import { defineMethod } from '../method.js';
import { hasReadableLayer } from './conditions.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { activationsOf } from './target-layer.js';
import { meanAndThreshold } from './unusual-places.js';

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
    sigmas: notNegative.default(2),
    /** `pytorch-grad-cam`: activations weighted by the share of strong places, negative parts cut off. */
    compat: compatWith('pytorch-grad-cam'),
  }),
  usesLayer: true,
  isClassSpecific: false,
  reasonAgainst: hasReadableLayer,
  map: ({ model, layer, options }) => {
    const activations = activationsOf(model, layer);
    const { average, threshold } = meanAndThreshold(activations, options.sigmas);
    return combineChannels(greaterEqual(activations, threshold).mul(average), { ...options, signed: true });
  },
  compat: { 'pytorch-grad-cam': pytorchGradCam.fem },
});
