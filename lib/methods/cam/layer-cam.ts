import { z } from 'zod';

import { highest, tanh } from '../../symbolic/index.js';
import { all, gradientReachesLayer, hasGradients, hasTargetLayer } from '../conditions.js';
import { notNegative } from '../fields.js';
import { defineMethod } from '../method.js';
import { divideOrZero } from '../safe-division.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { readLayer } from './target-layer.js';
import { byPositiveGradient } from './weightings.js';

/**
 * LayerCAM: every place of every channel weighted by its own positive gradient, summed, negative parts cut off. Made
 * for shallow layers too, whose finer maps are fused with the deep ones'.
 *
 * Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 2021.
 */
export const layerCam = defineMethod({
  name: 'layer-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /**
     * Brings the map M to tanh(gamma M / max M), which the paper does with 2 to shallow layers before it fuses them; 0
     * leaves it.
     */
    gamma: notNegative.default(0),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer, gradientReachesLayer),
  map: ({ model, layer, options }) => {
    const map = combineChannels(byPositiveGradient(readLayer(model, layer)), options);
    return options.gamma === 0 ? map : tanh(divideOrZero(map, highest(map), 1e-30).mul(options.gamma));
  },
});
