import {
  concatenate,
  mean,
  narrow,
  oneHot,
  rename,
  select,
  sub,
  where,
  type Operand,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { channelsOf } from './channel-masks.js';

export interface Ablation {
  /** The score: [batch]. */
  readonly score: Value;
  /** What of it is lost without each channel: [batch, channels]. */
  readonly lost: Value;
}

/** By a linear head on the channels' means, which loses what a channel's mean brings: exact in any dtype. */
export function lostByHead(model: SymbolicModel, features: Value): Ablation {
  return { score: model.output.score, lost: model.headRow().mul(mean(features, SPACE)) };
}

/**
 * By running the operators after the layer once for each channel, with `replacement` in that channel's place.
 *
 * In sample 0 nothing is ablated. The score of the run itself would not do: rounded along another way, it is off by as
 * much as a channel brings, and by the same for all channels.
 */
export function lostByRuns(
  model: SymbolicModel,
  layer: string,
  replacement: (feature: Value, channel: Value) => Operand = () => 0,
): Ablation {
  const feature = model.output.feature(layer);
  const channels = channelsOf(model.node(layer));
  const scores = concatenate(feature, 1 + channels, (sample) => {
    const channel = sample.sub(1);
    const ablated = where(oneHot(channel, 'channels', channels), replacement(feature, channel), feature);
    return model.resume([{ of: feature, to: ablated }]).score;
  });
  const score = select(scores, 'sample', 0);
  return { score, lost: sub(score, rename(narrow(scores, 'sample', 1, channels), 'sample', 'channels')) };
}
