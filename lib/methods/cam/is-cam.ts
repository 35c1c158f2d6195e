import { z } from 'zod';

import { mul } from '../../symbolic/index.js';
import { hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { maskedScoreWeights, scaledFirstMask, upsampledMask } from './channel-masks.js';
import { combineChannels, pipelineOptions } from './pipeline.js';

/**
 * IS-CAM: Score-CAM with each channel's score averaged along the way from no mask to the whole mask.
 *
 * Naidu et al., IS-CAM: Integrated Score-CAM for axiomatic-based explanations, arXiv:2010.03023, 2020.
 */
export const isCam = defineMethod({
  name: 'is-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** Steps along the way, and so runs of the model for each channel. */
    steps: z.int({ error: 'a whole number of at least 1 is expected' }).min(1, { error: 'at least 1 step is needed' }).max(100_000, { error: 'at most 100000 are taken' }).default(10),
    /** Masks scaled before they are upsampled, and the running sum of the fractions, which goes far beyond 1, in place of each. */
    compat: z.enum(['torch-cam'], { error: "'torch-cam' is expected" }).optional(),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: hasTargetLayer,
  map: ({ model, layer, options }) => {
    const { steps, compat } = options;
    const weights = maskedScoreWeights(model, {
      layer,
      maskOf: compat ? scaledFirstMask : upsampledMask,
      rounds: steps,
      masked: (mask, image, round) => {
        const step = round.add(1);
        const fraction = compat ? step.mul(step.add(1)).div(2 * steps) : step.div(steps);
        return mul(mul(image, mask), fraction);
      },
    });
    return combineChannels(model.spatial(model.output.feature(layer), layer).mul(weights), options);
  },
});
