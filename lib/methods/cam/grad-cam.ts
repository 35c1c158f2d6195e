import { z } from 'zod';

import { grad, mean, relu, sum } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';

/**
 * Grad-CAM: a layer's channels, each weighted by the mean over space of the class score's gradient, summed, negative
 * parts cut off. In a ViT, space is the patches; prefix tokens are left out of the mean and of the map.
 *
 * Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
 */
export const gradCam = defineMethod({
  name: 'grad-cam',
  options: z.strictObject({}),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, layer }) => {
    const feature = model.output.feature(layer);
    const gradient = model.spatial(grad(model.output.score, feature), layer);
    const weights = mean(gradient, ['height', 'width']);
    return relu(sum(model.spatial(feature, layer).mul(weights), 'channels'));
  },
});
