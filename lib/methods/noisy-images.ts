import {
  accumulate,
  highest,
  lowest,
  noise,
  type Run,
  type Sample,
  type SymbolicModel,
  type Value,
} from '../symbolic/index.js';

export interface NoisyImages {
  /** Noisy copies of each image. */
  readonly samples: number;
  /** Standard deviation of the Gaussian noise, in `noiseUnit`. */
  readonly noise: number;
  /**
   * `range`: a share of the difference between the image's largest and smallest value; `absolute`: of pixels. Default
   * `absolute`.
   */
  readonly noiseUnit?: 'range' | 'absolute';
  readonly seed: number;
}

type Read<Result> = (run: Run, sample: Sample) => Result;

/** The sum over noisy copies of an image of what is read of the run on each. */
export function sumOverNoise<Result extends Value | Readonly<Record<string, Value>>>(
  model: SymbolicModel,
  { samples, noise: level, noiseUnit, seed }: NoisyImages,
  read: Read<Result>,
): Result {
  const { image } = model;
  const deviation = noiseUnit === 'range' ? highest(image).sub(lowest(image)).mul(level) : level;
  return accumulate(image, samples, (sample) =>
    read(model.run(image.add(noise(image, sample, seed, 'normal').mul(deviation))), sample),
  );
}

/** The means of what is read by name. */
export function meanOverNoise<const Name extends string>(
  model: SymbolicModel,
  options: NoisyImages,
  read: Read<Readonly<Record<Name, Value>>>,
): Readonly<Record<Name, Value>> {
  const sums = Object.entries<Value>(sumOverNoise(model, options, read));
  return Object.fromEntries(sums.map(([name, sum]) => [name, sum.div(options.samples)])) as Record<Name, Value>;
}
