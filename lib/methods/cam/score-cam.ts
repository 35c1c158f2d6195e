import { z } from 'zod';

import { hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { cornerAlignedMask, maskedScoreWeights, scaledFirstMask, upsampledMask } from './channel-masks.js';
import { combineChannels, pipelineOptions } from './pipeline.js';

const MASKS = { 'pytorch-grad-cam': cornerAlignedMask, 'torch-cam': scaledFirstMask } as const;

/**
 * Score-CAM: a layer's channels, each weighted by the score that the model gives the image seen through that channel.
 * Takes no gradients; one run of the model for each channel.
 *
 * Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, CVPR Workshops 2020.
 */
export const scoreCam = defineMethod({
  name: 'score-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** Masks as that package makes them: aligned at corners, or scaled before they are upsampled. */
    compat: z.enum(['pytorch-grad-cam', 'torch-cam'], { error: "'pytorch-grad-cam' or 'torch-cam' is expected" }).optional(),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: hasTargetLayer,
  map: ({ model, layer, options }) => {
    const weights = maskedScoreWeights(model, { layer, maskOf: options.compat ? MASKS[options.compat] : upsampledMask });
    return combineChannels(model.spatial(model.output.feature(layer), layer).mul(weights), options);
  },
});
