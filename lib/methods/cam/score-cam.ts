import { z } from 'zod';

import { compatWith } from '../compat/peers.js';
import * as pytorchGradCam from '../compat/pytorch-grad-cam.js';
import * as torchCam from '../compat/torch-cam.js';
import { hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { scoreWeighted, upsampledMask } from './channel-masks.js';
import { pipelineOptions } from './pipeline.js';

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
    compat: compatWith('pytorch-grad-cam', 'torch-cam'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: hasTargetLayer,
  map: scoreWeighted(() => ({ maskOf: upsampledMask })),
  compat: {
    'pytorch-grad-cam': scoreWeighted(() => ({ maskOf: pytorchGradCam.maskOf })),
    'torch-cam': scoreWeighted(() => ({ maskOf: torchCam.maskOf })),
  },
});
