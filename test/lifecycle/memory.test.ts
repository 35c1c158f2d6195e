import { describe, expect, it } from 'vitest';

import { expectEnding, runChild } from './child.js';

const script = new URL('./children/memory.mjs', import.meta.url);
const MEBIBYTE = 2 ** 20;
const nothing = { models: 0, weightBytes: 0, queued: 0, running: 0 };

// V8's young generation at its full size from the start: it grows now and then by itself, by 17 MB in all.
const NODE = ['--expose-gc', '--min-semi-space-size=16', '--max-semi-space-size=16'];

async function reportsOf(what: string): Promise<readonly Record<string, unknown>[]> {
  // One arena: glibc's freed memory would else be scattered over one per thread, and look like growth.
  const ending = await runChild(script, { args: [what], node: NODE, env: { MALLOC_ARENA_MAX: '1' } });
  expectEnding(ending, { stages: ['end'] });
  return ending.reports as Record<string, unknown>[];
}

describe('garbage collection', () => {
  it('frees models that nobody closed', async () => {
    const [open, end] = await reportsOf('unclosed');
    expect(open).toMatchObject({ models: 3 });
    expect(open!['weightBytes']).toBeGreaterThan(0);
    expect(end).toEqual(nothing);
  });

  it('leaves a model that is out of reach its work in flight', async () => {
    expect(await reportsOf('unclosed-amid-work')).toEqual([64, nothing]);
  });
});

describe('memory stays where it is', () => {
  it('over 200 calls of explain, and the counters return to where they were', async () => {
    const [{ before, after, completed, growth }] = (await reportsOf('explain')) as [Record<string, never>];
    expect(after).toEqual(before);
    expect(completed).toBe(1000);
    // 200 calls make 52 MB of maps.
    expect(growth, 'bytes').toBeLessThan(16 * MEBIBYTE);
  });

  it('over 40 models loaded and closed', async () => {
    const [{ before, after, growth }] = (await reportsOf('open-and-close')) as [Record<string, never>];
    expect(before).toEqual(nothing);
    expect(after).toEqual(nothing);
    expect(growth, 'bytes').toBeLessThan(24 * MEBIBYTE);
  });

  it('over 3000 calls that are refused with QUEUE_FULL', async () => {
    const [{ growth, heapGrowth }] = (await reportsOf('refused')) as [Record<string, never>];
    expect(heapGrowth, 'bytes of the JavaScript heap').toBeLessThan(1.5 * MEBIBYTE);
    expect(growth, 'bytes').toBeLessThan(16 * MEBIBYTE);
  });

  it('over 2000 explanations of several methods in batches of 1 to 8: the resident set within 2 %', async () => {
    const [{ explained, share }] = (await reportsOf('mixed')) as [Record<string, number>];
    expect(explained).toBeGreaterThanOrEqual(2000);
    expect(share).toBeLessThan(0.02);
  });

  it.each([
    ['400 calls that are aborted', 'aborted'],
    ['10 rounds over 12 image sizes', 'sizes'],
    ['400 methods of the user', 'custom-methods'],
  ])('over %s', async (_, what) => {
    const reports = await reportsOf(what);
    expect(reports.at(-1)!['growth'], 'bytes').toBeLessThan(24 * MEBIBYTE);
  });
});
