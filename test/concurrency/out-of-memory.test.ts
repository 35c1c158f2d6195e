import { spawnSync } from 'node:child_process';

import { describe, expect, it } from 'vitest';

import { expectEnding, runChild } from '../lifecycle/child.js';

const script = new URL('./children/out-of-memory.mjs', import.meta.url);
const canLimit = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;

async function reportsWith(mebibytes: number): Promise<readonly Record<string, unknown>[]> {
  const ending = await runChild(script, { args: [String(mebibytes)], deadline: 100_000 });
  expectEnding(ending, { stages: ['warm', 'end'] });
  return ending.reports as Record<string, unknown>[];
}

describe.skipIf(!canLimit)('a batch that does not fit into memory', { timeout: 120_000 }, () => {
  it('is run in parts, gives the same maps, and the next one is not gathered as large', async () => {
    const [first, second, end] = await reportsWith(HEADROOM);
    expect(first).toMatchObject({ round: 'first' });
    expect(first!['halved']).toBeGreaterThan(0);
    expect(first!['batches']).toBeGreaterThan(1);
    expect(first!['difference']).toBeLessThan(1e-4);
    expect(second).toMatchObject({ round: 'second', halved: 0 });
    expect(second!['batches']).toBeGreaterThan(1);
    expect(second!['difference']).toBeLessThan(1e-4);
    expect(end).toEqual({ running: 0, queued: 0, models: 0 });
  });

  it('of one image fails with OUT_OF_MEMORY, and the process lives on', async () => {
    const [first, second, end] = await reportsWith(TOO_LITTLE);
    expect(first).toEqual({ round: 'first', code: 'OUT_OF_MEMORY' });
    expect(second).toEqual({ round: 'second', code: 'OUT_OF_MEMORY' });
    expect(end).toEqual({ running: 0, queued: 0, models: 0 });
  });
});
