import { z } from 'zod';

const whole = (least: number, error: string): z.ZodNumber => z.int({ error }).min(least, { error });

/** Runs of the model for one image: so many take hours, and more are a slip of the finger. */
export const MOST_SAMPLES = 100_000;
/** The side of the largest image that a model is inspected at. */
const MOST_PIXELS = 16_384;

/** A count of samples from `least` to `most`. */
export const count = (least: number, most = MOST_SAMPLES): z.ZodNumber => {
  const error = `a whole number from ${least} to ${most} is expected`;
  return whole(least, error).max(most, { error });
};

const SEED = 'a whole number from 0 to 2147483647 is expected';
/** Of noise: equal seeds give equal maps. */
export const seedSchema = whole(0, SEED).max(2 ** 31 - 1, { error: SEED });

const PIXELS = `a whole number from 1 to ${MOST_PIXELS} is expected, or two: [vertically, horizontally]`;
const side = whole(1, PIXELS).max(MOST_PIXELS, { error: PIXELS });
/** A number of pixels (or of cells), or [vertically, horizontally]. */
export const pixels = z.union([side, z.tuple([side, side])], { error: PIXELS });

export type Pixels = z.output<typeof pixels>;

/** [vertically, horizontally]. */
export const bothWays = (size: Pixels): readonly [number, number] => (typeof size === 'number' ? [size, size] : size);
