import { z } from 'zod';

/** A count of at least `least`. */
export const count = (least: number): z.ZodNumber => {
  const error = `a whole number of at least ${least} is expected`;
  return z.int({ error }).min(least, { error });
};

/** Of noise: equal seeds give equal maps. */
export const seedSchema = z.int({ error: 'a whole number from 0 to 2147483647 is expected' }).min(0, { error: 'a whole number from 0 to 2147483647 is expected' }).max(2 ** 31 - 1, { error: 'a whole number from 0 to 2147483647 is expected' });

/** A number of pixels, or [vertically, horizontally]. */
export const pixels = z.union([count(1), z.tuple([count(1), count(1)])], {
  error: 'a whole number of pixels of at least 1 is expected, or two: [vertically, horizontally]',
});

export type Pixels = z.output<typeof pixels>;

/** [vertically, horizontally]. */
export const bothWays = (size: Pixels): readonly [number, number] => (typeof size === 'number' ? [size, size] : size);
