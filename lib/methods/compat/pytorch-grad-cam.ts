/** What pytorch-grad-cam (Gildenblat and contributors) computes otherwise than the papers say. */
import {
  equal,
  gather,
  greater,
  lowest,
  mean,
  remainder,
  softmax,
  square,
  sum,
  upsample,
  where,
  type Value,
} from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { lostByRuns } from '../cam/ablation.js';
import { unitMask, type MaskOf } from '../cam/channel-masks.js';
import type { Rescaling } from '../cam/full-gradient.js';
import { combineChannels, type PipelineSettings } from '../cam/pipeline.js';
import { activationsOf } from '../cam/target-layer.js';
import { meanAndThreshold } from '../cam/unusual-places.js';
import type { Weighting } from '../cam/weightings.js';
import type { MapOf, MethodInput } from '../method.js';

/** Grad-CAM++: alpha with an epsilon in the denominator. */
export const placeWeights: Weighting = ({ activations, gradients }) => {
  const squared = square(gradients);
  return squared.div(
    squared
      .mul(2)
      .add(squared.mul(gradients).mul(sum(activations, SPACE)))
      .add(1e-6),
  );
};

/** XGrad-CAM: an epsilon in place of the exception for dead channels. */
export const shareOfTotal = (weighted: Value, total: Value): Value => weighted.div(total.add(1e-7));

/** Score-CAM: corners of the activations on corners of the image. */
export const maskOf: MaskOf = (activations, height, width) =>
  unitMask(upsample(activations, height, width, { alignCorners: true }));

/** FullGrad: each channel of each term by itself. */
export const FULL_GRAD_RESCALING: Rescaling = { over: SPACE, epsilon: 1e-7, alignCorners: false };

/** FEM: activations weighted by the share of strong places, negative parts cut off. */
export const fem: MapOf<PipelineSettings & { readonly sigmas: number }> = ({ model, layer, options }) => {
  const activations = activationsOf(model, layer);
  const { threshold } = meanAndThreshold(activations, options.sigmas);
  return combineChannels(activations.mul(mean(greater(activations, threshold), SPACE)), options);
};

/** Finer-CAM: references weighted by their probabilities, and the gradient flows through the weights too. */
export function contrast(
  { model, options: { strength = 1 } }: MethodInput<{ readonly strength?: number | undefined }>,
  nearest: Value,
): Value {
  const { logits, score } = model.output;
  const weights = gather(softmax(logits, 'classes'), nearest);
  const differences = score.sub(gather(logits, nearest).mul(strength));
  return sum(weights.mul(differences), 'rank').div(sum(weights, 'rank').add(1e-9));
}

/** Its batch of ablations, within which the value for an ablated channel drifts. */
const ABLATIONS = 32;

/**
 * Ablation-CAM: the sign of the score is kept, and in place of an ablated channel stands 0 if the layer's lowest value
 * is 0, else 1e7 less than the lowest value of its batch of ablations, in which the earlier ones are already written:
 * 1e7 lower each time.
 */
export const ablationCam: MapOf<PipelineSettings> = ({ model, layer, options }) => {
  const { score, lost } = lostByRuns(model, layer, (feature, channel) => {
    const low = lowest(feature);
    const ordinal = remainder(channel, ABLATIONS).add(1);
    return where(equal(low, 0), 0, low.sub(ordinal.mul(1e7)));
  });
  const weights = lost.div(where(equal(score, 0), 1, score));
  return combineChannels(activationsOf(model, layer).mul(weights), options);
};
