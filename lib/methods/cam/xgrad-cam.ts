import { z } from 'zod';

import { sum, type Value } from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { compatWith } from '../compat/peers.js';
import * as pytorchGradCam from '../compat/pytorch-grad-cam.js';
import * as torchCam from '../compat/torch-cam.js';
import { all, gradientReachesLayer, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod, type MapOf } from '../method.js';
import { divideOrZero } from '../safe-division.js';
import { combineChannels, pipelineOptions, type PipelineSettings } from './pipeline.js';
import { readLayer } from './target-layer.js';

/** Each channel times sum(A g) / sum(A) over space, the quotient as `quotient` forms it. */
const mapBy =
  (quotient: (weighted: Value, total: Value) => Value): MapOf<PipelineSettings> =>
  ({ model, layer, options }) => {
    const { activations, gradients } = readLayer(model, layer);
    const weights = quotient(sum(activations.mul(gradients), SPACE), sum(activations, SPACE));
    return combineChannels(activations.mul(weights), options);
  };

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
  reasonAgainst: all(hasGradients, hasTargetLayer, gradientReachesLayer),
  map: mapBy((weighted, total) => divideOrZero(weighted, total)),
  compat: {
    'pytorch-grad-cam': mapBy(pytorchGradCam.shareOfTotal),
    'torch-cam': mapBy(torchCam.shareOfTotal),
  },
});
