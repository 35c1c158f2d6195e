import { describe, expect, it } from 'vitest';

import { expectEnding, runChild, type ChildOptions, type Ending } from './child.js';

const script = new URL('./children/workers.mjs', import.meta.url);
const run = (what: string, times = 1, options: ChildOptions = {}): Promise<Ending> =>
  runChild(script, { args: [what, String(times)], ...options });

describe('a worker thread that ends', () => {
  it.each([
    ['with its model open', '{"how":"open","main":true}'],
    ['with its model closed', '{"how":"close","main":true}'],
  ])('%s leaves nothing behind', async (_, options) => {
    const ending = await run(`ends${options}`, 3);
    expectEnding(ending, { stages: ['ended 0 with 12', 'ended 0 with 12', 'ended 0 with 12', 'end'] });
    // Twelve explanations and one warm-up in each of three workers.
    expect(ending.reports).toMatchObject([
      { models: 0, weightBytes: 0, queued: 0, running: 0, completed: 39, failed: 0 },
    ]);
  });

  it('is no trouble to a main thread that never loads the addon', async () => {
    expectEnding(await run('ends{"how":"open"}', 3), {
      stages: ['ended 0 with 12', 'ended 0 with 12', 'ended 0 with 12', 'end'],
    });
  });

  it('leaves the addon usable where it was loaded first in a worker', async () => {
    const ending = await run('first-in-worker');
    expectEnding(ending, { stages: ['worker ended', 'end'] });
    expect(ending.reports).toEqual([true, true]);
  });
});

describe('worker.terminate()', () => {
  it.each([
    ['amid computing, 30 times', '{"how":"compute-for-ever"}', 30],
    ['with many images queued, 10 times', '{"how":"many"}', 10],
    ['while the engine reads its pixels, 12 times', '{"how":"large-pixels"}', 12],
  ])('%s', async (_, options, times) => {
    const ending = await run(`terminate${options}`, times);
    expectEnding(ending, { stages: ['terminated', 'end'] });
    // Twelve explanations and one warm-up in each of three workers.
    expect(ending.reports).toMatchObject([{ models: 0, weightBytes: 0, queued: 0, running: 0 }, 12]);
  });

  it('amid computing, where main never loads the addon', async () => {
    expectEnding(await run('terminate{"main":false}', 8), { stages: ['terminated', 'end'] });
  });

  it('while loading', async () => {
    const ending = await run('terminate-while-loading', 12);
    expectEnding(ending);
    // Twelve explanations and one warm-up in each of three workers.
    expect(ending.reports).toMatchObject([{ models: 0, weightBytes: 0, queued: 0, running: 0 }]);
  });
});

describe('several threads', () => {
  it('share one device thread, and each gets its own results', async () => {
    const ending = await run('two');
    expectEnding(ending);
    expect(ending.reports).toEqual([{ sameInputSameMap: true, otherInputOtherMap: true }]);
  });

  it.each(['{"main":true}', '{"main":false}'])(
    'main calls process.exit() while a worker computes %s',
    async (options) => {
      expectEnding(await run(`main-exits${options}`), { code: 7, stages: ['exiting'] });
    },
  );

  it('main throws while a worker computes', async () => {
    expectEnding(await run('main-throws'), { code: 1, stages: ['throwing'] });
  });

  it('a worker that throws amid work takes nobody along', async () => {
    const ending = await run('worker-fails{"how":"throw"}');
    expectEnding(ending, { stages: ['error: the mistake of a worker', 'worker ended with 1', 'end'] });
    expect(ending.reports).toEqual([12]);
  });

  it('a worker that calls process.exit() amid work takes nobody along', async () => {
    const ending = await run('worker-fails{"how":"exit"}');
    expectEnding(ending, { stages: ['worker ended with 5', 'end'] });
    expect(ending.reports).toEqual([12]);
  });
});
