import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { hasPooledHead } from '../conditions.js';
import { defineMethod } from '../method.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { activationsOf } from './target-layer.js';

/**
 * Class activation mapping: the feature before the average pooling, weighted by the class's row of the linear layer
 * after it. Signed: what speaks against the class is negative.
 *
 * Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.
 */
export const cam = defineMethod({
  name: 'cam',
  options: z.strictObject({ ...pipelineOptions }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: hasPooledHead,
  map: ({ model, layer, options }) => {
    const feature = model.inspection.head!.feature;
    if (layer !== feature) {
      throw new SightlineError(
        'INVALID_OPTION',
        `cam explains the pooled feature "${feature}" only, not "${layer}"; leave the layer out, or use grad-cam.`,
      );
    }
    return combineChannels(activationsOf(model, feature).mul(model.headRow()), { ...options, signed: true });
  },
});
