import { z } from 'zod';

/** Options that several methods take, each with one name, one range and one sentence for what is out of it. */

const whole = (least: number, error: string): z.ZodNumber => z.int({ error }).min(least, { error });

/** Runs of the model for one image: so many take hours, and more are a slip of the finger. */
export const MOST_SAMPLES = 100_000;
/** The side of the largest image that a model is inspected at. */
const MOST_PIXELS = 16_384;

/** A count, of samples or steps, from `least` to `most`. */
export const count = (least: number, most = MOST_SAMPLES): z.ZodNumber => {
  const error = `a whole number from ${least} to ${most} is expected`;
  return whole(least, error).max(most, { error });
};

const SEED = 'a whole number from 0 to 2147483647 is expected';
/** Of noise: equal seeds give equal maps. */
export const seed = whole(0, SEED).max(2 ** 31 - 1, { error: SEED });

const NOT_NEGATIVE = { error: 'a number of at least 0 is expected' };
/** A number of at least 0. */
export const notNegative = z.number(NOT_NEGATIVE).min(0, NOT_NEGATIVE);
/** Standard deviation of Gaussian noise: of pixels as the model gets them, unless the method says otherwise. */
export const noise = notNegative;

/** One of several words. */
export const oneOf = <const Words extends readonly [string, ...string[]]>(...words: Words) => {
  const quoted = words.map((word) => `'${word}'`);
  return z.enum(words, {
    error: `${[quoted.slice(0, -1).join(', '), quoted.at(-1)].filter(Boolean).join(' or ')} is expected`,
  });
};

export const flag = z.boolean({ error: 'true or false is expected' });

const PIXELS = `a whole number from 1 to ${MOST_PIXELS} is expected, or two: [vertically, horizontally]`;
const side = whole(1, PIXELS).max(MOST_PIXELS, { error: PIXELS });
/** A number of pixels (or of cells), or [vertically, horizontally]. */
export const pixels = z.union([side, z.tuple([side, side])], { error: PIXELS });

export type Pixels = z.output<typeof pixels>;

/** [vertically, horizontally]. */
export const bothWays = (size: Pixels): readonly [number, number] => (typeof size === 'number' ? [size, size] : size);
