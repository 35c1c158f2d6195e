import { defineMethod, symbolic, z, type Model } from '../../lib/index.js';
import type { Pixels } from '../support/rounding.js';

/** A method whose map the test knows: the sum of the image's channels. */
export const channelSum = defineMethod({
  name: 'channel-sum',
  options: z.strictObject({}),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: () => null,
  map: ({ model }) => symbolic.sum(model.image, 'channels'),
});

/** A method that gives every image the map written here, row by row. */
export const fixedMap = (values: readonly number[], height: number, width: number) =>
  defineMethod({
    name: 'fixed-map',
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific: false,
    reasonAgainst: () => null,
    map: ({ model }) =>
      symbolic.expandLike(
        symbolic.constant(model.image, Float32Array.from(values), { height, width }),
        symbolic.sum(model.image, 'channels'),
      ),
  });

/** One image of a tensor. */
export function imageAt({ data, shape }: Pixels, index: number): Float32Array {
  const size = shape.slice(1).reduce((product, length) => product * length, 1);
  return data.slice(index * size, (index + 1) * size);
}

/** The sum over the channels of each pixel, as float32 adds them. */
export function sumOfChannels(image: Float32Array): Float32Array {
  const pixels = image.length / 3;
  return Float32Array.from({ length: pixels }, (_, i) =>
    Math.fround(Math.fround(image[i]! + image[pixels + i]!) + image[2 * pixels + i]!),
  );
}

/** Pixels from the largest value down; of equal ones the first comes first. */
export function fromLargest(map: ArrayLike<number>): number[] {
  return Array.from(map, (_, i) => i).sort((a, b) => map[b]! - map[a]! || a - b);
}

/** The image where `shown` says so, and the baseline elsewhere. */
export function shownOn(
  image: Float32Array,
  shown: (pixel: number) => boolean,
  baseline: (place: number) => number,
): Float32Array {
  const pixels = image.length / 3;
  return image.map((value, place) => (shown(place % pixels) ? value : baseline(place)));
}

/** What a class gets of each image: in float64, from the logits of a plain prediction. */
export async function scoresOf(
  model: Model,
  images: readonly Float32Array[],
  height: number,
  width: number,
  target: number,
  kind: 'probability' | 'logit' | 'top1',
): Promise<number[]> {
  const data = new Float32Array(images.length * 3 * height * width);
  images.forEach((image, i) => data.set(image, i * image.length));
  const predicted = await model.predict({ data, shape: [images.length, 3, height, width] });
  return predicted.map(({ logits }) => {
    const values = Float64Array.from(logits.data);
    const highest = values.reduce((most, value) => Math.max(most, value), -Infinity);
    if (kind === 'logit') return values[target]!;
    if (kind === 'top1') return values[target] === highest ? 1 : 0;
    const powers = values.map((value) => Math.exp(value - highest));
    return powers[target]! / powers.reduce((sum, power) => sum + power, 0);
  });
}

/** The area under a curve by the trapezoidal rule, over its width. */
export function trapezoid(scores: readonly number[], at: readonly number[]): number {
  let sum = 0;
  for (let i = 1; i < at.length; i++) sum += ((scores[i]! + scores[i - 1]!) / 2) * (at[i]! - at[i - 1]!);
  return sum / (at.at(-1)! - at[0]!);
}

/** Pearson's correlation. */
export function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [ma, mb] = [mean(a), mean(b)];
  const product = (x: readonly number[], mx: number, y: readonly number[], my: number): number =>
    x.reduce((sum, value, i) => sum + (value - mx) * (y[i]! - my), 0);
  return product(a, ma, b, mb) / Math.sqrt(product(a, ma, a, ma) * product(b, mb, b, mb));
}
