import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { blur, constant, expandLike, fullLike, sub, type SymbolicModel, type Value } from '../../symbolic/index.js';

const DEFAULT_SIGMA = 10;
const BASELINE = `'zero', 'black', 'white', 'blur', { blur: pixels above 0 }, a number or a list of numbers, one for each channel, is expected`;

/**
 * What stands for "nothing to see": `zero`, which after the model's normalization is its mean color; `black`; `white`;
 * `blur`, the image itself without its detail (`{ blur: 5 }`: by a Gaussian of 5 pixels' standard deviation, else 10);
 * a value, or one for each color channel, as the model gets them, after normalization.
 */
export const baselineSchema = z.union(
  [
    z.enum(['zero', 'black', 'white', 'blur']),
    z.strictObject({ blur: z.number({ error: BASELINE }).positive({ error: BASELINE }) }),
    z.number(),
    z.array(z.number()).min(1, { error: BASELINE }),
  ],
  { error: BASELINE },
);
export type Baseline = z.output<typeof baselineSchema>;

/** The baseline of each image, of the images' shape; null for zeros, which need no adding. */
export function baselineOf(model: SymbolicModel, baseline: Baseline): Value | null {
  if (baseline === 'zero' || baseline === 0) return null;
  if (typeof baseline === 'number') return fullLike(model.image, baseline);
  if (baseline === 'black' || baseline === 'white') {
    const { mean, std } = model.normalization;
    return colored(
      model,
      mean.map((value, channel) => ((baseline === 'white' ? 1 : 0) - value) / std[channel]!),
    );
  }
  if (Array.isArray(baseline)) return colored(model, baseline);
  const { height, width } = model.inspection;
  const sigma = baseline === 'blur' ? DEFAULT_SIGMA : baseline.blur;
  // Reflected edges reach no further than the image itself.
  const reach = Math.min(Math.ceil(3 * sigma), height - 1, width - 1);
  return blur(model.image, 2 * reach + 1, sigma);
}

function colored(model: SymbolicModel, color: readonly number[]): Value {
  const { channels } = model.inspection;
  if (color.length !== channels) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The baseline has ${color.length} numbers, but the model's images have ${channels} channels; give one for each.`,
    );
  }
  return expandLike(constant(model.image, Float32Array.from(color), { channels }), model.image);
}

/** The images where `kept` [batch, height, width] is 1, the baseline where it is 0. */
export function masked(image: Value, kept: Value, baseline: Value | null): Value {
  const seen = image.mul(kept);
  return baseline === null ? seen : seen.add(baseline.mul(sub(1, kept)));
}
