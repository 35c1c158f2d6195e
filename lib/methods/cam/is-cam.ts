import { z } from 'zod';

import { compatWith } from '../compat/peers.js';
import * as torchCam from '../compat/torch-cam.js';
import { hasTargetLayer } from '../conditions.js';
import { count } from '../fields.js';
import { defineMethod } from '../method.js';
import { scoreWeighted, upsampledMask } from './channel-masks.js';
import { pipelineOptions } from './pipeline.js';

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
    steps: count(1).default(10),
    /**
     * Masks scaled before they are upsampled, and the running sum of the fractions, which goes far beyond 1, in place
     * of each.
     */
    compat: compatWith('torch-cam'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: hasTargetLayer,
  map: scoreWeighted(({ steps }) => ({
    maskOf: upsampledMask,
    rounds: steps,
    masked: (mask, image, round) => image.mul(mask).mul(round.add(1).div(steps)),
  })),
  compat: { 'torch-cam': scoreWeighted(torchCam.isCamScores) },
});
