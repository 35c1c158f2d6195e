import { z } from 'zod';

import { mean, type Value } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { compatWith } from './compat.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { readLayer, type LayerReading } from './target-layer.js';

/** Each channel times the mean over space of its gradient. */
export function weightedByMeanGradient({ activations, gradients }: LayerReading): Value {
  return activations.mul(mean(gradients, ['height', 'width']));
}

/**
 * Grad-CAM: a layer's channels, each weighted by the mean over space of the class score's gradient, summed, negative
 * parts cut off. In a ViT, space is the patches; prefix tokens are left out of the mean and of the map.
 *
 * Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
 */
export const gradCam = defineMethod({
  name: 'grad-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** `captum`: negative parts are kept, as LayerGradCam does unless told otherwise. */
    compat: compatWith('captum'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, layer, options: { eigenSmoothing, compat } }) =>
    combineChannels(weightedByMeanGradient(readLayer(model, layer)), { eigenSmoothing, signed: compat === 'captum' }),
});
