import { spawnSync } from 'node:child_process';

import { describe, expect, it } from 'vitest';

import { expectEnding, runChild } from '../lifecycle/child.js';

const script = new URL('./children/out-of-memory.mjs', import.meta.url);
const canLimit = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;

describe.skipIf(!canLimit)('where memory is short', () => {
  it('a batch is run in parts and gives the same maps, and the next is not gathered as large', async () => {
    const ending = await runChild(script);
    expectEnding(ending, { stages: ['warm', 'end'] });
    const [first, second, end] = ending.reports as Record<string, number>[];
    expect(first).toMatchObject({ round: 'first' });
    expect(first!['halved']).toBeGreaterThan(0);
    expect(first!['batches']).toBe(first!['halved']! + 1);
    expect(first!['difference'], 'share of what rounding explains').toBeLessThanOrEqual(1);
    expect(second).toMatchObject({ round: 'second' });
    // Every halving makes one batch more: without those there would still be two, since 16 were not tried again.
    expect(second!['batches']! - second!['halved']!).toBeGreaterThanOrEqual(2);
    expect(second!['difference'], 'share of what rounding explains').toBeLessThanOrEqual(1);
    expect(end).toEqual({ running: 0, queued: 0, models: 0 });
  });
});
