import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import {
  constant,
  floor,
  fullLike,
  noise,
  pick,
  stack,
  take,
  type Sample,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { notNegative } from '../fields.js';
import { baselineOf, baselineSchema, type Baseline } from './baseline.js';

const BASELINES =
  "'zero', 'black', 'white', 'blur', { blur: pixels above 0 }, a number, one for each channel, a list of these, { noise: at least 0 } or { data: Float32Array, shape } is expected";

/**
 * Images that stand for "nothing to see", of which each sample draws one: that of `baselineSchema`, a list of those,
 * `{ noise: deviation }` for Gaussian noise around the model's mean color, or preprocessed images of the user's own,
 * `{ data, shape: [images, channels, height, width] }`.
 */
export const baselinesSchema = z.union(
  [
    baselineSchema,
    z.array(baselineSchema).min(1, { error: BASELINES }),
    z.strictObject({ noise: notNegative }),
    z.strictObject({
      data: z.instanceof(Float32Array, { error: BASELINES }),
      shape: z.array(z.int({ error: BASELINES }), { error: BASELINES }),
    }),
  ],
  { error: BASELINES },
);
export type Baselines = z.output<typeof baselinesSchema>;

/**
 * One baseline for all samples, null for zeros, which need no adding; or how each draws its own, of the images' shape.
 * `number`: [batch], uniform on [0, 1), of which one of several images follows. `count`: how many there are, null for
 * noise.
 */
export type BaselineDraws =
  | { readonly single: Value | null }
  | { readonly draw: (sample: Sample, number: Value) => Value; readonly count: number | null };

/**
 * How a sample's baseline is drawn.
 *
 * @param noiseSeed of the noise, where there is any
 * @throws SightlineError INVALID_OPTION for images that are not of the model's size, or not finite
 */
export function drawBaselines(model: SymbolicModel, baselines: Baselines, noiseSeed: number): BaselineDraws {
  const { image } = model;
  const oneOf = (count: number, number: Value): Value => floor(number.mul(count));
  if (typeof baselines === 'object' && 'noise' in baselines) {
    return { draw: (sample) => noise(image, sample, noiseSeed, 'normal').mul(baselines.noise), count: null };
  }
  if (typeof baselines === 'object' && 'data' in baselines) {
    const { channels, height, width } = model.inspection;
    const images = checkedCount(baselines, [channels, height, width]);
    // Copied, since the plan outlives the call, and the caller may fill the array again.
    const table = constant(image, baselines.data.slice(), { images, channels, height, width });
    return { draw: (_, number) => take(table, oneOf(images, number)), count: images };
  }
  if (Array.isArray(baselines) && baselines.some((each) => typeof each !== 'number')) {
    const several = baselines.map((each) => baselineOf(model, each) ?? fullLike(image, 0));
    const table = stack(several, 'baselines');
    return { draw: (_, number) => pick(table, oneOf(several.length, number), 'baselines'), count: several.length };
  }
  return { single: baselineOf(model, baselines as Baseline) };
}

function checkedCount({ data, shape }: { data: Float32Array; shape: number[] }, ofImage: readonly number[]): number {
  const wanted = `[images, ${ofImage.join(', ')}]`;
  const [count = 0, ...sizes] = shape;
  if (count < 1 || sizes.join() !== ofImage.join()) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The baselines have the shape [${shape.join(', ')}], but the model's images ask for ${wanted}; preprocess them as the images are.`,
    );
  }
  const values = shape.reduce((product, size) => product * size, 1);
  if (data.length !== values) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The baselines hold ${data.length} values, but their shape [${shape.join(', ')}] asks for ${values}; give as many.`,
    );
  }
  if (!data.every(Number.isFinite)) {
    throw new SightlineError('INVALID_OPTION', 'The baselines hold values that are not finite; give numbers alone.');
  }
  return count;
}
