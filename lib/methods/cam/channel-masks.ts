import type { NodeInfo } from '../../engine/inspection.js';
import {
  concatenate,
  constant,
  div,
  equal,
  floor,
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
  upsample,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';

/** How many channels a layer has, whatever its layout. */
export function channelsOf({ layout, shape }: NodeInfo): number {
  return shape[layout === 'channels-first' ? 1 : shape.length - 1]!;
}

/** A layer's places: [height, width]. */
export function placesOf({ grid, layout, shape }: NodeInfo): readonly [height: number, width: number] {
  if (grid !== null) return [grid.height, grid.width];
  return layout === 'channels-last' ? [shape[1]!, shape[2]!] : [shape[2]!, shape[3]!];
}

/** 1 at the number `index` [batch] says and 0 elsewhere: [batch, axis]. */
export function oneHot(index: Value, axis: string, size: number): Value {
  const numbers = constant(index, Float32Array.from({ length: size }, (_, i) => i), { [axis]: size });
  return equal(index, numbers);
}

/** Each image to [0, 1]: (x - min) / (max - min + 1e-8). A flat one becomes zeros. */
export function unitMask(mask: Value): Value {
  const low = lowest(mask);
  return div(sub(mask, low), highest(mask).sub(low).add(1e-8));
}

/** A channel's activations [batch, h, w] as a mask of the image's size. */
type MaskOf = (activations: Value, height: number, width: number) => Value;

/** Score-CAM's own: upsampled, then scaled, so that the mask reaches both 0 and 1. */
export const upsampledMask: MaskOf = (activations, height, width) => unitMask(upsample(activations, height, width));
/** pytorch-grad-cam's: corners of the map on corners of the image. */
export const cornerAlignedMask: MaskOf = (activations, height, width) => unitMask(upsample(activations, height, width, { alignCorners: true }));
/** torch-cam's: scaled, then upsampled, so that a peak away from the border is lower than 1. */
export const scaledFirstMask: MaskOf = (activations, height, width) => upsample(unitMask(activations), height, width);

export interface MaskedScores {
  readonly layer: string;
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
export function maskedScoreWeights(model: SymbolicModel, { layer, maskOf, rounds = 1, masked = mul, seed = 0 }: MaskedScores): Value {
  const { height, width } = model.inspection;
  const features = model.spatial(model.output.feature(layer), layer);
  const channels = channelsOf(model.node(layer));
  const scores = concatenate(features, rounds * channels, (sample) => {
    // Half a step above the quotient, where rounding cannot reach the next whole number.
    const round = floor(sample.add(0.5).div(channels));
    const mask = maskOf(pick(features, sample.sub(round.mul(channels))), height, width);
    return model.run(masked(mask, model.image, round, (like) => noise(like, sample, seed, 'normal'))).score;
  });
  return softmax(rounds === 1 ? rename(scores, 'sample', 'channels') : mean(split(scores, 'sample', { rounds, channels }), 'rounds'), 'channels');
}
