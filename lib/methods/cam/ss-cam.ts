import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { mul } from '../../symbolic/index.js';
import { hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { maskedScoreWeights, scaledFirstMask, upsampledMask } from './channel-masks.js';
import { combineChannels, pipelineOptions } from './pipeline.js';

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
    samples: z.int({ error: 'a whole number of at least 1 is expected' }).min(1, { error: 'at least 1 sample is needed' }).max(100_000, { error: 'at most 100000 are taken' }).default(35),
    /** Standard deviation of the noise: of masks in [0, 1], or of pixels as the model gets them. */
    noiseLevel: z.number({ error: 'a number of at least 0 is expected' }).min(0, { error: 'a standard deviation is at least 0' }).default(2),
    /** What the noise is added to: the `mask`, or the `input`, that is, the image after masking. */
    noiseOn: z.enum(['mask', 'input'], { error: "'mask' or 'input' is expected" }).default('mask'),
    /** Of the noise: the same seed gives the same map. */
    seed: z.int({ error: 'a whole number of at least 0 is expected' }).min(0, { error: 'a seed is at least 0' }).max(2 ** 31 - 1, { error: 'a seed is at most 2147483647' }).default(0),
    /** Masks as that package makes them: scaled before they are upsampled. */
    compat: z.enum(['torch-cam'], { error: "'torch-cam' is expected" }).optional(),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: hasTargetLayer,
  map: ({ model, layer, options }) => {
    const { samples, noiseLevel, noiseOn, seed, compat } = options;
    if (compat && noiseOn === 'input') {
      throw new SightlineError('INVALID_OPTION', 'ss-cam as torch-cam has it adds noise to the mask only; leave out `noiseOn` or `compat`.');
    }
    const weights = maskedScoreWeights(model, {
      layer,
      maskOf: compat ? scaledFirstMask : upsampledMask,
      rounds: samples,
      seed,
      masked: (mask, image, _, draw) => {
        if (noiseOn === 'mask') return mul(image, mask.add(draw(mask).mul(noiseLevel)));
        return mul(image, mask).add(draw(image).mul(noiseLevel));
      },
    });
    return combineChannels(model.spatial(model.output.feature(layer), layer).mul(weights), options);
  },
});
