import { z } from 'zod';

import { highest, relu, tanh, type Value } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { reciprocalOrZero } from './safe-division.js';
import { readLayer, type LayerReading } from './target-layer.js';

/** Each place of each channel times its own positive gradient. */
export function weightedByPositiveGradient({ activations, gradients }: LayerReading): Value {
  return activations.mul(relu(gradients));
}

/**
 * LayerCAM: every place of every channel weighted by its own positive gradient, summed, negative parts cut off. Made for
 * shallow layers too, whose finer maps are fused with the deep ones'.
 *
 * Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 2021.
 */
export const layerCam = defineMethod({
  name: 'layer-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** Brings the map M to tanh(gamma M / max M), which the paper does with 2 to shallow layers before it fuses them; 0 leaves it. */
    gamma: z.number().min(0).default(0),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, layer, options }) => {
    const map = combineChannels(weightedByPositiveGradient(readLayer(model, layer)), options);
    return options.gamma === 0 ? map : tanh(map.mul(reciprocalOrZero(highest(map), 1e-30)).mul(options.gamma));
  },
});
