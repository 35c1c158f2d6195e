import type { NodeInfo } from '../../engine/inspection.js';
import {
  concatenate,
  div,
  highest,
  lowest,
  mean,
  mul,
  noise,
  pick,
  rename,
  softmax,
  split,
  sub,
  unravel,
  upsample,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import type { MapOf } from '../method.js';
import { combineChannels, type PipelineSettings } from './pipeline.js';
import { activationsOf } from './target-layer.js';

/** How many channels a layer has, whatever its layout. */
export function channelsOf({ layout, shape }: NodeInfo): number {
  return shape[layout === 'channels-first' ? 1 : shape.length - 1]!;
}

/** A layer's places: [height, width]. */
export function placesOf({ grid, layout, shape }: NodeInfo): readonly [height: number, width: number] {
  if (grid !== null) return [grid.height, grid.width];
  return layout === 'channels-last' ? [shape[1]!, shape[2]!] : [shape[2]!, shape[3]!];
}

/** Each image to [0, 1]: (x - min) / (max - min + 1e-8). A flat one becomes zeros. */
export function unitMask(mask: Value): Value {
  const low = lowest(mask);
  return div(sub(mask, low), highest(mask).sub(low).add(1e-8));
}

/** A channel's activations [batch, h, w] as a mask of the image's size. */
export type MaskOf = (activations: Value, height: number, width: number) => Value;

/** Score-CAM's own: upsampled, then scaled, so that the mask reaches both 0 and 1. */
export const upsampledMask: MaskOf = (activations, height, width) => unitMask(upsample(activations, height, width));

export interface MaskedScores {
  readonly maskOf: MaskOf;
  /** How many times each channel is scored; the mean counts. Default 1. */
  readonly rounds?: number;
  /**
   * The image that is scored, of the mask, the image, the round's number [batch] and `draw`, standard normal noise of a
   * value's shape that differs from channel to channel and round to round. Default: their product.
   */
  readonly masked?: (mask: Value, image: Value, round: Value, draw: (like: Value) => Value) => Value;
  /** Of the noise. */
  readonly seed?: number;
}

/**
 * What the Score-CAM family weighs channels by: the softmax over channels of the score that the image gets where it is
 * seen through each channel alone, [batch, channels]. The score of a baseline image, which the papers take away, is the
 * same for all channels and so changes nothing.
 *
 * Masks are made inside the loop from the small activations: they would take gigabytes together.
 */
function maskedScoreWeights(
  model: SymbolicModel,
  layer: string,
  { maskOf, rounds = 1, masked = mul, seed = 0 }: MaskedScores,
): Value {
  const { height, width } = model.inspection;
  const activations = activationsOf(model, layer);
  const channels = channelsOf(model.node(layer));
  const scores = concatenate(activations, rounds * channels, (sample) => {
    const { round, channel } = unravel(sample, { round: rounds, channel: channels });
    const mask = maskOf(pick(activations, channel, 'channels'), height, width);
    return model.run(masked(mask, model.image, round, (like) => noise(like, sample, seed, 'normal'))).score;
  });
  return softmax(
    rounds === 1 ? rename(scores, 'sample', 'channels') : mean(split(scores, 'sample', { rounds, channels }), 'rounds'),
    'channels',
  );
}

/**
 * The map of a Score-CAM: activations weighted by masked scores. `scored` says how the channels are, by the options.
 */
export const scoreWeighted =
  <Options extends PipelineSettings>(scored: (options: Options) => MaskedScores): MapOf<Options> =>
  ({ model, layer, options }) =>
    combineChannels(activationsOf(model, layer).mul(maskedScoreWeights(model, layer, scored(options))), options);
