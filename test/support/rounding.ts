/**
 * How far apart two right answers may lie. Processors differ in how many numbers they add at once, and so in the order
 * of sums: no two kernels give the same last bits. What that makes of an answer is told by two things of the case
 * itself.
 *
 * - How often it is rounded: each operator of the graph rounds once, there and back.
 * - Its condition: how much farther the answer moves than its pixels do, when these are moved by a few roundings.
 *
 * The product of both and float32's rounding is the textbook's bound of the error. Over 555 pairs of a model and a
 * method, each by four settings of kernels and threads, no difference was more than a quarter of it.
 */
import { expect } from 'vitest';

import type { Model } from '../../lib/index.js';

/** What float32 rounds a number by, at most, of its size: half of the last of 24 bits. */
export const ROUNDOFF = 2 ** -24;

/**
 * By how much pixels are moved, of their size: so far that what moves is seen above the rounding of the run that shows
 * it.
 */
const NUDGE = 16 * ROUNDOFF;
/** Few nudges show what moves all the time. A ReLU's kink that lies next to an activation is met by one of several. */
const NUDGES = 12;

/**
 * An answer that float32 leaves open by more than this, of its largest value, is compared by its middle and not by its
 * worst place.
 */
const OPEN = 1e-2;

/** A middle that float32 leaves open by more than this says nothing: two unlike maps are so far apart. */
const UNDECIDED = 0.1;

/** The part of a model that tells its operators: of the built package, or of the sources. */
export type Inspected = Pick<Model, 'inspect'>;

export interface Pixels {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** The pixels, each moved up or down by the seed; as they are with seed 0. */
export function nudged<T extends Pixels>(images: T, seed: number): T {
  if (seed === 0) return images;
  let state = seed;
  const data = images.data.map((value) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return value * (1 + (state >= 2 ** 31 ? NUDGE : -NUDGE));
  });
  return { ...images, data };
}

/** What the roundings of a well-conditioned answer add up to, of its largest value. */
export async function roundingOf(model: Inspected): Promise<number> {
  return 2 * (await model.inspect()).operators * ROUNDOFF;
}

/** Values that are zero but for rounding, such as a gradient that cancels, have no size of their own. */
const NOTHING = 1e-9;

/**
 * Largest and middle distance of values, of the largest expected one (of 1 where all are nothing). NaN is as far as can
 * be.
 */
function distances(found: ArrayLike<number>, expected: ArrayLike<number>): { largest: number; middle: number } {
  if (found.length !== expected.length) return { largest: Infinity, middle: Infinity };
  const size = Array.from(expected).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = size < NOTHING ? 1 : size;
  const apart = Array.from(found, (value, i) =>
    Number.isNaN(value - expected[i]!) ? Infinity : Math.abs(value - expected[i]!) / scale,
  );
  // Of the places that say something: a ReLU leaves many maps zero at most places.
  const told = apart
    .filter((_, i) => Math.max(Math.abs(found[i]!), Math.abs(expected[i]!)) >= NOTHING)
    .sort((a, b) => a - b);
  return { largest: apart.reduce((most, value) => Math.max(most, value), 0), middle: told[told.length >> 1] ?? 0 };
}

export interface Rounded {
  /** Whose answer it is: its graph tells how often numbers are rounded. */
  readonly model: Inspected;
  /** `found` once more, of images that were `nudged` by this seed. Asked for only where the condition decides. */
  readonly again: (seed: number) => Promise<ArrayLike<number>>;
  /**
   * What the documentation promises, of the largest value: as far as float32 allows it, this much is let pass as well.
   */
  readonly promised?: number;
}

/**
 * Fails where the values are farther apart than rounding explains. Where rounding decides more than the values would
 * show (`OPEN`), it says so, and compares the middle of all places instead of the worst: a quotient near its pole, or a
 * pixel at a ReLU's kink, is one place of many.
 */
export async function expectRounded(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
  { model, again, promised = 0 }: Rounded,
): Promise<void> {
  const apart = distances(found, expected);
  const rounding = await roundingOf(model);
  if (apart.largest <= Math.max(promised, rounding)) return;
  // No rounding makes a NaN, or another number of values.
  expect(apart.largest, `${what}: the largest difference`).toBeLessThan(Infinity);
  const moves: ReturnType<typeof distances>[] = [];
  const limitBy = (of: keyof (typeof moves)[number]): number =>
    Math.max(promised, rounding * Math.max(1, ...moves.map((move) => move[of] / NUDGE)));
  for (let seed = 1; seed <= NUDGES; seed++) {
    moves.push(distances(await again(977 * seed), found));
    const isOpen = limitBy('largest') > OPEN;
    if (!isOpen && apart.largest <= limitBy('largest')) return;
    if (isOpen && limitBy('middle') <= UNDECIDED && apart.middle <= limitBy('middle')) {
      console.log(
        `${what} is ill-conditioned: rounding may move it by ${limitBy('largest').toExponential(0)} at some place. Its middle is compared.`,
      );
      return;
    }
  }
  if (limitBy('largest') <= OPEN) {
    expect(apart.largest, `${what}: the largest difference`).toBeLessThanOrEqual(limitBy('largest'));
  }
  expect(limitBy('middle'), `${what} is ill-conditioned: what float32 leaves open of its middle`).toBeLessThanOrEqual(
    UNDECIDED,
  );
  expect(apart.middle, `${what} is ill-conditioned: the middle difference`).toBeLessThanOrEqual(limitBy('middle'));
}

/**
 * Fails where a value is farther from the one worked out by hand than so many roundings in a row make of numbers up to
 * `size`, which may be given place by place.
 */
export function expectWithin(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  roundings: number,
  size: number | ((place: number) => number),
): void {
  expect(found.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const limit = roundings * ROUNDOFF * (typeof size === 'number' ? size : size(i));
    expect(Math.abs(found[i]! - expected[i]!), `place ${i}`).toBeLessThanOrEqual(limit);
  }
}

/** Fails where answers that must differ are no farther apart than ten times what their roundings add up to. */
export async function expectUnlike(
  found: ArrayLike<number>,
  other: ArrayLike<number>,
  what: string,
  model: Inspected,
): Promise<void> {
  expect(found.length).toBe(other.length);
  expect(distances(found, other).largest, `${what}: the largest difference`).toBeGreaterThan(
    10 * (await roundingOf(model)),
  );
}

/** To [0, 1] by their own range, in float64; as they are where they have none. */
export function unit(values: ArrayLike<number>): Float64Array {
  const all = Float64Array.from(values);
  const [low, high] = [all.reduce((a, b) => Math.min(a, b), Infinity), all.reduce((a, b) => Math.max(a, b), -Infinity)];
  return high > low ? all.map((value) => (value - low) / (high - low)) : all;
}
