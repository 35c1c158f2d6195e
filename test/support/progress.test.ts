import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { PATIENCE_MS, until, Watch } from './progress.mjs';

describe('a watch', () => {
  let counter = 0;
  let used = 0;
  let watch: Watch;

  beforeEach(() => {
    vi.useFakeTimers();
    counter = used = 0;
    watch = new Watch(
      () => String(counter),
      () => used,
    );
    expect(watch.isStuck()).toBe(false);
  });
  afterEach(() => void vi.useRealTimers());
  const later = (): void => void vi.advanceTimersByTime(PATIENCE_MS + 1);

  it('calls stuck what neither counts nor computes, and nothing before its patience has ended', () => {
    vi.advanceTimersByTime(PATIENCE_MS - 1);
    expect(watch.isStuck()).toBe(false);
    vi.advanceTimersByTime(2);
    expect(watch.isStuck()).toBe(true);
  });

  it('lets go on what counts, or computes, however slowly', () => {
    for (let i = 0; i < 10; i++) {
      later();
      if (i % 2 === 0) counter++;
      else used += 3000;
      expect(watch.isStuck()).toBe(false);
    }
  });

  it('does not take its own polling for work, nor an endless loop for progress', () => {
    later();
    used += 500;
    expect(watch.isStuck()).toBe(true);
    for (let i = 0; i < 100; i++) {
      used += 2900;
      expect(watch.isStuck()).toBe(false);
    }
    used += 20_000;
    expect(watch.isStuck()).toBe(true);
  });
});

it('a wait ends when its condition holds', async () => {
  let polls = 0;
  await until('three polls', () => ++polls === 3);
  expect(polls).toBe(3);
});
