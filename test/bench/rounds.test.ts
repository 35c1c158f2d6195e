import { describe, expect, it } from 'vitest';

import { closedLoop } from '../../lib/bench/closed-loop.js';
import { runInterleaved, type Job } from '../../lib/bench/rounds.js';

const quiet = { failed: () => undefined, round: () => undefined };

describe('runInterleaved', () => {
  it('runs one of each job per round, drops the warm-up and keeps the very first', async () => {
    const order: string[] = [];
    let count = 0;
    const job = (name: string): Job<number> => ({
      name,
      run: async (isWarmUp) => (order.push(`${name}${isWarmUp ? '~' : ''}`), count++),
    });
    const rounds: string[] = [];
    const { samples, first } = await runInterleaved(
      [job('a'), job('b')],
      { warmup: 1, rounds: 2 },
      { ...quiet, round: (number, of) => rounds.push(`${number}/${of}`) },
    );
    expect(order).toEqual(['a~', 'b~', 'a', 'b', 'a', 'b']);
    expect(Object.fromEntries(samples)).toEqual({ a: [2, 4], b: [3, 5] });
    expect(Object.fromEntries(first)).toEqual({ a: 0, b: 1 });
    expect(rounds).toEqual(['1/3', '2/3', '3/3']);
  });

  it('goes on without a job that fails, also late', async () => {
    const failed: string[] = [];
    let calls = 0;
    const jobs: Job<number>[] = [
      { name: 'a', run: async () => 1 },
      { name: 'b', run: async () => (++calls === 3 ? Promise.reject(new Error('full')) : calls) },
    ];
    const { samples } = await runInterleaved(
      jobs,
      { warmup: 1, rounds: 4 },
      { ...quiet, failed: ({ name }, error) => failed.push(`${name}: ${(error as Error).message}`) },
    );
    expect(failed).toEqual(['b: full']);
    expect(calls).toBe(3);
    expect(Object.fromEntries(samples)).toEqual({ a: [1, 1, 1, 1] });
  });

  it('ends where the first job fails, or where the failure is not to be passed over', async () => {
    const fails: Job<number> = { name: 'b', run: () => Promise.reject(new Error('broken')) };
    const works: Job<number> = { name: 'a', run: async () => 1 };
    await expect(runInterleaved([fails, works], { warmup: 0, rounds: 1 }, quiet)).rejects.toThrow('broken');
    const strict = {
      ...quiet,
      failed: (_: unknown, error: unknown) => {
        throw error;
      },
    };
    await expect(runInterleaved([works, fails], { warmup: 0, rounds: 1 }, strict)).rejects.toThrow('broken');
  });
});

describe('closedLoop', () => {
  it('keeps as many requests in flight as there are callers, and makes as many as were asked for', async () => {
    let inFlight = 0;
    let most = 0;
    const numbers: number[] = [];
    const { latencies } = await closedLoop({ concurrency: 3, requests: 10 }, async (number) => {
      numbers.push(number);
      most = Math.max(most, ++inFlight);
      await new Promise((resolve) => setImmediate(resolve));
      inFlight--;
    });
    expect(most).toBe(3);
    expect(numbers).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(latencies).toHaveLength(10);
  });

  it('measures each request by itself', async () => {
    let time = 100;
    const { latencies, milliseconds } = await closedLoop(
      { concurrency: 1, requests: 3 },
      async (number) => void (time += 10 * (number + 1)),
      () => time,
    );
    expect(latencies).toEqual([10, 20, 30]);
    expect(milliseconds).toBe(60);
  });

  it('counts the time that a request waits for others', async () => {
    // One server of 10 ms for two callers: the second waits for the first.
    let time = 0;
    let line = Promise.resolve();
    const serve = (): Promise<void> => (line = line.then(() => void (time += 10)));
    const { latencies, milliseconds } = await closedLoop({ concurrency: 2, requests: 4 }, serve, () => time);
    expect(latencies.slice(0, 2)).toEqual([10, 20]);
    expect(milliseconds).toBe(40);
  });

  it('starts nothing more once a request has failed, and settles only then', async () => {
    let started = 0;
    let ended = 0;
    const loop = closedLoop({ concurrency: 2, requests: 100 }, async (number) => {
      started++;
      await new Promise((resolve) => setTimeout(resolve, number === 0 ? 1 : 20));
      ended++;
      if (number === 0) throw new Error('refused');
    });
    await expect(loop).rejects.toThrow('refused');
    expect({ started, ended }).toEqual({ started: 2, ended: 2 });
  });
});
