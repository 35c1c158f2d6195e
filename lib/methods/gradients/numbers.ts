import { z } from 'zod';

const whole = (least: number, error: string): z.ZodNumber => z.int({ error }).min(least, { error });

/** A count of at least `least`. */
export const count = (least: number): z.ZodNumber => whole(least, `a whole number of at least ${least} is expected`);

const SEED = 'a whole number from 0 to 2147483647 is expected';
/** Of noise: equal seeds give equal maps. */
export const seedSchema = whole(0, SEED).max(2 ** 31 - 1, { error: SEED });

const PIXELS = 'a whole number of at least 1 is expected, or two: [vertically, horizontally]';
/** A number of pixels (or of cells), or [vertically, horizontally]. */
export const pixels = z.union([whole(1, PIXELS), z.tuple([whole(1, PIXELS), whole(1, PIXELS)])], { error: PIXELS });

export type Pixels = z.output<typeof pixels>;

/** [vertically, horizontally]. */
export const bothWays = (size: Pixels): readonly [number, number] => (typeof size === 'number' ? [size, size] : size);
