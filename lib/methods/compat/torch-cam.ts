/** What torch-cam (Fernandez and contributors) computes otherwise than the papers say. */
import { SightlineError } from '../../support/errors.js';
import { equal, grad, power, relu, square, sum, upsample, where, type Value } from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { unitMask, type MaskedScores, type MaskOf } from '../cam/channel-masks.js';
import { combineChannels, type PipelineSettings } from '../cam/pipeline.js';
import { activationsOf } from '../cam/target-layer.js';
import type { Weighting } from '../cam/weightings.js';
import type { MapOf } from '../method.js';
import { sumOverNoise, type NoisyImages } from '../noisy-images.js';

/** Grad-CAM++: its division works on a copy, so g² itself is what it multiplies by. */
export const placeWeights: Weighting = ({ gradients }) => square(gradients);

/** XGrad-CAM: an epsilon in place of the exception for dead channels. */
export const shareOfTotal = (weighted: Value, total: Value): Value => weighted.div(total.add(1e-8));

/** The Score-CAM family: scaled, then upsampled, so that a peak away from the border is lower than 1. */
export const maskOf: MaskOf = (activations, height, width) => upsample(unitMask(activations), height, width);

/** SS-CAM: noise on the mask only. */
export function ssCamScores({
  samples,
  noise,
  noiseOn,
  seed,
}: {
  readonly samples: number;
  readonly noise: number;
  readonly noiseOn: 'mask' | 'input';
  readonly seed: number;
} & PipelineSettings): MaskedScores {
  if (noiseOn === 'input') {
    throw new SightlineError(
      'INVALID_OPTION',
      'ss-cam as torch-cam has it adds noise to the mask only; leave out `noiseOn` or `compat`.',
    );
  }
  return {
    maskOf,
    rounds: samples,
    seed,
    masked: (mask, image, _, draw) => image.mul(mask.add(draw(mask).mul(noise))),
  };
}

/** IS-CAM: the running sum of the fractions in place of each. */
export function isCamScores({ steps }: { readonly steps: number } & PipelineSettings): MaskedScores {
  return {
    maskOf,
    rounds: steps,
    masked: (mask, image, round) => {
      const step = round.add(1);
      return image.mul(mask).mul(step.mul(step.add(1)).div(2 * steps));
    },
  };
}

/**
 * Smooth Grad-CAM++: the last noisy image's gradient and activations in place of mean gradients and the image's own
 * activations; and one sum for a channel, of activations times third moments, where the definition multiplies their
 * sums.
 */
export const smoothGradCamPlusPlus: MapOf<NoisyImages & PipelineSettings> = ({ model, layer, options }) => {
  const { samples } = options;
  const activations = activationsOf(model, layer);
  const sums = sumOverNoise(model, options, (run, sample) => {
    const feature = run.feature(layer);
    const gradient = model.spatial(grad(run.score, feature), layer);
    const ofLast = (value: Value): Value => where(equal(sample, samples - 1), value, 0);
    return {
      second: square(gradient),
      third: power(gradient, 3),
      gradient: ofLast(gradient),
      activations: ofLast(model.spatial(feature, layer)),
    };
  });
  const [second, third] = [sums.second.div(samples), sums.third.div(samples)];
  const alpha = second.div(
    second
      .mul(2)
      .add(sum(third.mul(activations), SPACE))
      .add(1e-8),
  );
  const weights = sum(alpha.mul(relu(sums.gradient)), SPACE);
  return combineChannels(sums.activations.mul(weights), options);
};
