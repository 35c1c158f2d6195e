import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, describe, expect, it } from 'vitest';

import type { Job } from '../../bench/peers/jobs.mjs';
import { measureJob } from '../../bench/peers/measure.mjs';
import { alternate } from '../../bench/peers/rounds.mjs';
import { WorkerFailure, WorkerProcess } from '../../bench/peers/worker-process.mjs';
import { node, useBuiltCommand } from '../cli/command.js';

const FAKE = fileURLToPath(new URL('peers-fake-worker.mjs', import.meta.url));
const RUN = fileURLToPath(new URL('../../bench/peers/run.mjs', import.meta.url));
const open: WorkerProcess[] = [];

function fake(behaviour: string, slowness = '1', factor = '1'): WorkerProcess {
  const worker = new WorkerProcess(
    'Python worker',
    process.execPath,
    [FAKE, behaviour, slowness, factor],
    {},
    'run `pip install {package}`',
  );
  open.push(worker);
  return worker;
}

useBuiltCommand();
afterEach(async () => {
  await Promise.all(open.splice(0).map((worker) => worker.close()));
});

/** The failure of the first request that fails, among a load and two runs. */
async function failureOf(worker: WorkerProcess, seconds?: number): Promise<WorkerFailure> {
  try {
    await worker.ask({ do: 'load', slot: 'job/peer' }, seconds);
    for (let i = 0; i < 2; i++) await worker.ask({ do: 'run', slot: 'job/peer' }, seconds);
  } catch (error) {
    expect(error).toBeInstanceOf(WorkerFailure);
    return error as WorkerFailure;
  }
  throw new Error('Nothing failed.');
}

describe('a worker', () => {
  it('answers what it is asked', async () => {
    const worker = fake('sound', '2');
    expect(await worker.ask({ do: 'hello', threads: 2 })).toEqual({});
    expect(await worker.ask({ do: 'run', slot: 'a' })).toMatchObject({ seconds: 0.5 });
    expect(worker.isGone).toBe(false);
  });

  it('that dies is told with its last words, then and later', async () => {
    const worker = fake('dies');
    const failure = await failureOf(worker);
    expect(failure.kind).toBe('died');
    expect(failure.message).toBe(
      'The Python worker ended with exit code 3 while it was asked to run job/peer; its last words: MemoryError: no room.',
    );
    expect(worker.isGone).toBe(true);
    await expect(worker.ask({ do: 'run', slot: 'job/peer' })).rejects.toThrow(failure.message);
  });

  it('that dies without a word is told as well', async () => {
    expect((await failureOf(fake('dies-silently'))).message).toBe(
      'The Python worker ended with exit code 4 while it was asked to run job/peer, without a word.',
    );
  });

  it('that answers nonsense is ended', async () => {
    const worker = fake('nonsense');
    const failure = await failureOf(worker);
    expect(failure.kind).toBe('nonsense');
    expect(failure.message).toBe(
      'The Python worker answered to "run job/peer" with what is no answer, "100%|#####| 128/128", and was ended.',
    );
    expect(worker.isGone).toBe(true);
  });

  it('that answers another request is ended', async () => {
    expect((await failureOf(fake('stranger'))).kind).toBe('nonsense');
  });

  it('that lacks a package names it and how to get it, and lives on', async () => {
    const worker = fake('package');
    const failure = await failureOf(worker);
    expect(failure.kind).toBe('package');
    expect(failure.message).toBe(
      `The Python worker (${process.execPath}) lacks the package captum; run \`pip install captum\`.`,
    );
    expect(await worker.ask({ do: 'hello' })).toEqual({});
  });

  it('that is too slow is ended', async () => {
    const worker = fake('sleeps');
    await worker.ask({ do: 'hello' });
    const failure = await failureOf(worker, 1);
    expect(failure.kind).toBe('late');
    expect(failure.message).toBe('The Python worker did not answer to "run job/peer" within 1 s, and was ended.');
  });

  it('that cannot be started says so', async () => {
    const worker = new WorkerProcess('Python worker', '/no/such/python', []);
    await expect(worker.ask({ do: 'hello' })).rejects.toThrow(
      'The Python worker cannot be started (/no/such/python: spawn /no/such/python ENOENT); name another program.',
    );
    await worker.close();
  });
});

describe('rounds', () => {
  it('go one at a time, every other one backwards', async () => {
    const order: string[] = [];
    let running = 0;
    const contestant = (name: string, seconds: number) => ({
      name,
      run: async () => {
        expect(++running).toBe(1);
        order.push(name);
        await new Promise((resolve) => setTimeout(resolve, 2));
        running--;
        return { seconds, growth: order.length * 10 };
      },
    });
    const measured = await alternate([contestant('a', 1), contestant('b', 2), contestant('c', 3)], 3, { settle: 0 });
    expect(order.join('')).toBe('abccbaabc');
    expect(measured.map(({ name, seconds }) => [name, seconds])).toEqual([
      ['a', [1, 1, 1]],
      ['b', [2, 2, 2]],
      ['c', [3, 3, 3]],
    ]);
    expect(measured[0]).toMatchObject({ growth: 70, failure: null });
  });

  it('leave out who failed, and go on with the others', async () => {
    let runs = 0;
    const fails = {
      name: 'peer',
      run: async () => {
        if (++runs === 2) throw new WorkerFailure('died', 'It died.');
        return { seconds: 1 };
      },
    };
    const [ours, peer] = await alternate([{ name: 'ours', run: async () => ({ seconds: 1 }) }, fails], 4, {
      settle: 0,
    });
    expect(ours).toMatchObject({ seconds: [1, 1, 1, 1], failure: null });
    expect(peer).toMatchObject({ failure: 'It died.' });
    expect(runs).toBe(2);
  });

  it('do not believe a time of nothing', async () => {
    const [found] = await alternate([{ name: 'peer', run: async () => ({ seconds: NaN }) }], 1, { settle: 0 });
    expect(found!.failure).toContain('NaN s');
  });

  it('tell whose process did not sleep while it waited', async () => {
    const run = async () => ({ seconds: 1, idleCpu: 0.5, idleSeconds: 1 });
    const afterwards = async () => ({ seconds: 1, idleCpu: 0.02, idleSeconds: 0.03 });
    const measured = await alternate(
      [
        { name: 'spins', run },
        { name: 'sleeps', run: afterwards },
      ],
      1,
      { settle: 0 },
    );
    expect(measured.map(({ idleShare }) => idleShare)).toEqual([0.5, 0]);
  });
});

describe('a job', () => {
  const job: Job = {
    name: 'job',
    network: 'resnet50',
    images: 'batch',
    ours: { method: 'cam' },
    base: { forward: true },
    peers: [{ name: 'eager', agrees: { difference: 1e-6 } }],
  };

  async function measure(peer: string, slowness: string, factor: string, changes: Partial<Job> = {}) {
    const scratch = mkdtempSync(path.join(tmpdir(), 'peers-test-'));
    const shared = { ours: fake('sound'), peer: fake(peer, slowness, factor) };
    const worker = async (side: 'ours' | 'peer', isOwn: boolean) =>
      isOwn
        ? fake(side === 'ours' ? 'sound' : peer, side === 'ours' ? '1' : slowness, side === 'ours' ? '1' : factor)
        : shared[side];
    try {
      return await measureJob(
        { ...job, ...changes },
        { models: '/models', batch: 1, rounds: 3, withBf16: true, scratch, imagesOf: () => '/images.npy', worker },
      );
    } finally {
      rmSync(scratch, { recursive: true });
    }
  }

  it('is run on both sides and compared', async () => {
    const result = await measure('sound', '4', '7');
    expect(result.contestants.map(({ name, seconds }) => [name, seconds.length])).toEqual([
      ['base', 3],
      ['ours', 3],
      ['ours-bf16', 3],
      ['eager', 3],
    ]);
    expect(result.ratioOf('eager', 'ours', 'time')).toEqual({ median: 4, low: 4, high: 4 });
    expect(result.ratioOf('eager', 'ours', 'memory')).toMatchObject({ median: 4 });
    expect(result.comparisons.map(({ peer, agrees }) => [peer, agrees])).toEqual([
      ['eager', true],
      ['ours-bf16', true],
    ]);
  });

  it('tells where a peer answers something else', async () => {
    const result = await measure('sound', '1', '-1');
    expect(result.comparisons[0]).toMatchObject({ peer: 'eager', value: 1, agrees: false });
  });

  it.each([
    ['package', 'lacks the package captum'],
    ['fails', 'The Python worker could not load job/eager: RuntimeError: no compiler.'],
    ['dies', 'its last words: MemoryError: no room.'],
    ['nonsense', 'with what is no answer'],
  ])('goes on with ours where the peer %s', async (behaviour, message) => {
    const result = await measure(behaviour, '1', '1');
    expect(result.contestants.find(({ name }) => name === 'eager')!.failure).toContain(message);
    expect(result.contestants.find(({ name }) => name === 'ours')!.seconds).toHaveLength(3);
    expect(result.comparisons.map(({ peer }) => peer)).toEqual(['ours-bf16']);
  });

  it('gives each contestant a process of its own where memory is measured, and ends it', async () => {
    const before = open.length;
    const result = await measure('sound', '2', '1', { isolated: true, isLong: true });
    expect(result.contestants.map(({ seconds }) => seconds.length)).toEqual([2, 2, 2, 2]);
    const own = open.slice(before + 2);
    expect(own).toHaveLength(4);
    expect(own.every(({ isGone }) => isGone)).toBe(true);
  });
});

describe('run.mjs', () => {
  const models = path.join(tmpdir(), 'no-such-models');
  it.each([
    [['--jobs', 'nope'], 'There is no job "nope"; there are '],
    [['--rounds', '0'], '--rounds takes a whole number from 1 to 9999, not "0".'],
    [['--dtype', 'f64'], '--dtype takes f32, or bf16'],
    [['--jobs', 'vit-gae', '--models', models], `${path.join(models, 'timm_vit_b_16.pt')} is missing; make it by `],
    [['--job', 'vit-gae'], "Unknown option '--job'"],
  ])('refuses %j in a sentence', async (args, message) => {
    const { code, stderr } = await node(RUN, '--models', models, ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('    at ');
  });
});
