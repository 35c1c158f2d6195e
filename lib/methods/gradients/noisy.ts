import { z } from 'zod';

import { abs, accumulate, grad, highest, lowest, noise, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { seedSchema } from './numbers.js';

/** Options of the methods that look at noisy copies of an image. */
export const noisyFields = {
  /** Standard deviation of the Gaussian noise, in `noiseUnit`. */
  noise: z.number({ error: 'a number of at least 0 is expected' }).min(0, { error: 'a number of at least 0 is expected' }),
  /** `range`: a share of the difference between the image's largest and smallest value; `absolute`: the model's input units. */
  noiseUnit: z.enum(['range', 'absolute'], { error: "'range' or 'absolute' is expected" }),
  seed: seedSchema,
};

export interface Noisy {
  readonly samples: number;
  readonly noise: number;
  readonly noiseUnit: 'range' | 'absolute';
  readonly seed: number;
}

/** The mean over noisy copies of what `read` makes of the gradient at each. */
export function meanOverNoise(model: SymbolicModel, { samples, noise: level, noiseUnit, seed }: Noisy, read: (gradient: Value) => Value): Value {
  const { image } = model;
  const deviation = noiseUnit === 'range' ? highest(image).sub(lowest(image)).mul(level) : null;
  return accumulate(image, samples, (sample) => {
    const drawn = noise(image, sample, seed, 'normal');
    const run = model.run(image.add(drawn.mul(deviation ?? level)));
    return read(grad(run.score, run.image));
  }).div(samples);
}

/** What of each gradient is averaged, or varies. */
export const READINGS = {
  gradient: (value: Value): Value => value,
  absolute: abs,
};
