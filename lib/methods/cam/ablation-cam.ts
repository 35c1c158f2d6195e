import { z } from 'zod';

import { abs, concatenate, equal, floor, lowest, mean, mul, narrow, rename, select, sub, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { channelsOf, oneHot } from './channel-masks.js';
import { combineChannels, pipelineOptions } from './pipeline.js';

/** pytorch-grad-cam's batch of ablations, within which its value for an ablated channel drifts. */
const COMPAT_BATCH = 32;

/**
 * Ablation-CAM: a layer's channels, each weighted by the share of the score that is lost where that channel is set to
 * zero. Takes no gradients; for each channel, one run of what lies behind the layer.
 *
 * Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization,
 * WACV 2020.
 */
export const ablationCam = defineMethod({
  name: 'ablation-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** Channels of layers with negative values set to about -1e7 in place of 0, and the sign of the score kept. */
    compat: z.enum(['pytorch-grad-cam'], { error: "'pytorch-grad-cam' is expected" }).optional(),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: hasTargetLayer,
  map: ({ model, layer, options }) => {
    const features = model.spatial(model.output.feature(layer), layer);
    const { score, lost } = ablate(model, layer, features, options.compat !== undefined);
    // The paper divides by the score itself, which turns the map over where the score is negative.
    const weights = lost.div(options.compat ? score.add(equal(score, score.mul(0))) : abs(score).add(1e-8));
    return combineChannels(features.mul(weights), options);
  },
});

/** The score [batch], and what of it is lost without each channel [batch, channels]. */
function ablate(model: SymbolicModel, layer: string, features: Value, isCompat: boolean): { score: Value; lost: Value } {
  // A linear head on the channels' means loses what a channel's mean brings. Told by the weights, that is exact in any
  // dtype; by two logits of a bf16 model it would be lost in their rounding.
  if (!isCompat && model.explained.isLogit && layer === model.inspection.head?.feature) {
    return { score: model.output.score, lost: model.headRow().mul(mean(features, ['height', 'width'])) };
  }
  const feature = model.output.feature(layer);
  const channels = channelsOf(model.node(layer));
  // In sample 0 nothing is ablated. The score of the run itself would not do: rounded along another way, it is off by
  // as much as a channel brings, and by the same for all channels.
  const scores = concatenate(feature, 1 + channels, (sample) => {
    const channel = sample.sub(1);
    const ablated = oneHot(channel, 'channels', channels);
    const kept = feature.mul(ablated.mul(-1).add(1));
    const to = isCompat ? kept.add(mul(ablated, compatValue(feature, channel))) : kept;
    return model.resume([{ of: feature, to }]).score;
  });
  const score = select(scores, 'sample', 0);
  return { score, lost: sub(score, rename(narrow(scores, 'sample', 1, channels), 'sample', 'channels')) };
}

/**
 * What pytorch-grad-cam writes in place of an ablated channel: 0 if the layer's lowest value is 0, else 1e7 less than the
 * lowest value of its batch of ablations, in which the earlier ablations are already written: 1e7 lower each time.
 */
function compatValue(feature: Value, channel: Value): Value {
  const low = lowest(feature);
  const ordinal = channel.sub(floor(channel.add(0.5).div(COMPAT_BATCH)).mul(COMPAT_BATCH)).add(1);
  const isNotZero = equal(low, low.mul(0)).mul(-1).add(1);
  return low.sub(ordinal.mul(1e7)).mul(isNotZero);
}
