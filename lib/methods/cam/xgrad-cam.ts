import { z } from 'zod';

import { sum, type Value } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { compatWith } from './compat.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { reciprocalOrZero } from './safe-division.js';
import { readLayer } from './target-layer.js';

/** What each peer adds to a channel's total activation before it divides by it. */
const EPSILONS = { 'pytorch-grad-cam': 1e-7, 'torch-cam': 1e-8 } as const;

/**
 * XGrad-CAM: a channel's weight is the mean of its gradients, each place counting by its share of the channel's total
 * activation. A channel whose activations sum to zero has no shares, and weight 0.
 *
 * Fu et al., Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, BMVC 2020.
 */
export const xGradCam = defineMethod({
  name: 'xgrad-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** `pytorch-grad-cam` adds 1e-7 to the total activation, `torch-cam` 1e-8: it shows in all but dead channels. */
    compat: compatWith('pytorch-grad-cam', 'torch-cam'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, layer, options }) => {
    const { activations, gradients } = readLayer(model, layer);
    const total = sum(activations, ['height', 'width']);
    const weighted = sum(activations.mul(gradients), ['height', 'width']);
    const weights: Value = options.compat ? weighted.div(total.add(EPSILONS[options.compat])) : weighted.mul(reciprocalOrZero(total));
    return combineChannels(activations.mul(weights), options);
  },
});
