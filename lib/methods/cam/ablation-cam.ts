import { z } from 'zod';

import { abs } from '../../symbolic/index.js';
import { compatWith } from '../compat/peers.js';
import * as pytorchGradCam from '../compat/pytorch-grad-cam.js';
import { hasReadableLayer } from './conditions.js';
import { defineMethod } from '../method.js';
import { lostByHead, lostByRuns } from './ablation.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { activationsOf } from './target-layer.js';

/**
 * Ablation-CAM: a layer's channels, each weighted by the share of the score that is lost where that channel is set to
 * zero. Takes no gradients; for each channel, one run of the operators after the layer.
 *
 * Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization,
 * WACV 2020.
 */
export const ablationCam = defineMethod({
  name: 'ablation-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** Channels of layers with negative values set to about -1e7 in place of 0, and the sign of the score kept. */
    compat: compatWith('pytorch-grad-cam'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: hasReadableLayer,
  map: ({ model, layer, options }) => {
    const activations = activationsOf(model, layer);
    // By two logits of a bf16 model, a channel's share would be lost in their rounding.
    const isHeadRead = model.explained.isLogit && layer === model.inspection.head?.feature;
    const { score, lost } = isHeadRead ? lostByHead(model, activations) : lostByRuns(model, layer);
    // The paper divides by the score itself, which turns the map over where the score is negative.
    return combineChannels(activations.mul(lost.div(abs(score).add(1e-8))), options);
  },
  compat: { 'pytorch-grad-cam': pytorchGradCam.ablationCam },
});
