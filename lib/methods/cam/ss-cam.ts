import { z } from 'zod';

import { compatWith } from '../compat/peers.js';
import * as torchCam from '../compat/torch-cam.js';
import { hasTargetLayer } from '../conditions.js';
import { count, noise, oneOf, seed } from '../fields.js';
import { defineMethod } from '../method.js';
import { scoreWeighted, upsampledMask } from './channel-masks.js';
import { pipelineOptions } from './pipeline.js';

/**
 * SS-CAM: Score-CAM with each channel's score averaged over noisy masks, or over noise on the masked image.
 *
 * Wang, Naidu et al., SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization, arXiv:2006.14255, 2020.
 */
export const ssCam = defineMethod({
  name: 'ss-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** Noisy masks for each channel, and so runs of the model. */
    samples: count(1).default(35),
    /** Standard deviation of the noise: of masks in [0, 1], or of pixels as the model gets them. */
    noise: noise.default(2),
    /** The noise is added to this: the `mask`, or the `input`, that is, the image after masking. */
    noiseOn: oneOf('mask', 'input').default('mask'),
    /** Of the noise: the same seed gives the same map. */
    seed: seed.default(0),
    /** Masks as that package makes them: scaled before they are upsampled. */
    compat: compatWith('torch-cam'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: hasTargetLayer,
  map: scoreWeighted(({ samples, noise: level, noiseOn, seed }) => ({
    maskOf: upsampledMask,
    rounds: samples,
    seed,
    masked: (mask, image, _, draw) =>
      noiseOn === 'mask' ? image.mul(mask.add(draw(mask).mul(level))) : image.mul(mask).add(draw(image).mul(level)),
  })),
  compat: { 'torch-cam': scoreWeighted(torchCam.ssCamScores) },
});
