import { describe, expect, it, vi } from 'vitest';

import type { Model } from '../../lib/index.js';
import { expectRounded, expectUnlike, expectWithin, nudged, ROUNDOFF, roundingOf } from './rounding.js';

const model = { inspect: async () => ({ operators: 100 }) } as unknown as Model;
const EXPECTED = [1, -2, 4, 0.5];
/** One place off by a share of the largest value. */
const off = (share: number, place = 1): number[] => EXPECTED.map((value, i) => value + (i === place ? 4 * share : 0));
/** Each nudge moves the answer by a share of its largest value: at one place or at all. */
const moving =
  (share: number, isEverywhere = true) =>
  async (): Promise<number[]> =>
    EXPECTED.map((value, i) => value + (isEverywhere || i === 1 ? 4 * share : 0));
const fails = async (work: Promise<void>): Promise<boolean> =>
  work.then(
    () => false,
    () => true,
  );

it('pixels move by sixteen roundings of themselves, up or down, by the seed', () => {
  const images = { data: Float32Array.from({ length: 64 }, (_, i) => 1 + i / 64), shape: [1, 1, 8, 8] };
  expect(nudged(images, 0)).toBe(images);
  const moved = nudged(images, 5).data;
  expect(nudged(images, 5).data).toEqual(moved);
  expect(nudged(images, 6).data).not.toEqual(moved);
  moved.forEach((value, i) => expect(Math.abs(value / images.data[i]! - 1)).toBeLessThan(18 * ROUNDOFF));
  expect(moved.some((value, i) => value > images.data[i]!) && moved.some((value, i) => value < images.data[i]!)).toBe(
    true,
  );
});

it('what was worked out by hand is held to its roundings, place by place', () => {
  expectWithin([1, -2 - 7.9 * ROUNDOFF], [1, -2], 4, 2);
  expect(() => expectWithin([1, -2 - 8.1 * ROUNDOFF], [1, -2], 4, 2)).toThrow('place 1');
  expect(() => expectWithin([1, -2 - 7.9 * ROUNDOFF], [1, -2], 4, (place) => (place === 1 ? 1 : 2))).toThrow('place 1');
  expect(() => expectWithin([1, NaN], [1, -2], 4, 2)).toThrow('place 1');
  expect(() => expectWithin([1], [1, -2], 4, 2)).toThrow();
});

it('what must differ differs by more than rounding', async () => {
  await expectUnlike(off(2001 * ROUNDOFF), EXPECTED, 'values', model);
  expect(await fails(expectUnlike(off(1999 * ROUNDOFF), EXPECTED, 'values', model))).toBe(true);
});

describe('an answer is let pass', () => {
  it('as far as its roundings add up, and no farther', async () => {
    expect(await roundingOf(model)).toBe(200 * ROUNDOFF);
    const again = moving(0);
    await expectRounded(EXPECTED, off(199 * ROUNDOFF), 'values', { model, again });
    expect(await fails(expectRounded(EXPECTED, off(202 * ROUNDOFF), 'values', { model, again }))).toBe(true);
    expect(await fails(expectRounded([1, NaN, 4, 0.5], EXPECTED, 'values', { model, again }))).toBe(true);
    expect(await fails(expectRounded([1, -2, 4], EXPECTED, 'values', { model, again }))).toBe(true);
  });

  it('as far as its condition makes them, and no farther', async () => {
    // Ten times as far as the pixels.
    const again = async (): Promise<number[]> => off(0).map((value) => value + 4 * 160 * ROUNDOFF);
    await expectRounded(EXPECTED, off(1900 * ROUNDOFF), 'values', { model, again });
    expect(await fails(expectRounded(EXPECTED, off(2100 * ROUNDOFF), 'values', { model, again }))).toBe(true);
  });

  it('as far as is promised, without another run', async () => {
    const again = vi.fn(moving(0));
    await expectRounded(EXPECTED, off(0.9e-4), 'values', { model, again, promised: 1e-4 });
    expect(again).not.toHaveBeenCalled();
    expect(await fails(expectRounded(EXPECTED, off(1.1e-4), 'values', { model, again, promised: 1e-4 }))).toBe(true);
  });

  it('where one place is ill-conditioned, by the others', async () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    await expectRounded(EXPECTED, off(0.5), 'values', { model, again: moving(0.01, false) });
    expect(log.mock.lastCall![0]).toContain('values is ill-conditioned');
    const others = off(0.5).map((value) => value + 0.01);
    expect(await fails(expectRounded(EXPECTED, others, 'values', { model, again: moving(0.01, false) }))).toBe(true);
    // Where all places are, nothing could be compared, and that is a failure.
    expect(await fails(expectRounded(EXPECTED, off(0.5), 'values', { model, again: moving(0.5) }))).toBe(true);
    log.mockRestore();
  });
});
