import { describe, expect, it } from 'vitest';

import { expectEnding, runChild } from './child.js';

const exit = new URL('./children/exit.mjs', import.meta.url);
const natural = new URL('./children/natural.mjs', import.meta.url);

describe('a process ends by itself with exit code 0', () => {
  it.each([
    ['addon-only', []],
    ['model-open', ['loaded', 'explained']],
    ['closed', ['loaded', 'explained']],
    ['unawaited-load', ['done']],
    ['unawaited-explain', ['loaded', 'done 40']],
    ['unawaited-close', ['loaded', 'explained', 'closed 0']],
  ])('%s', async (what, stages) => {
    expectEnding(await runChild(natural, { args: [what] }), { stages });
  });

  it('unawaited-capture-and-inspect', async () => {
    const ending = await runChild(natural, { args: ['unawaited-capture-and-inspect'] });
    expectEnding(ending);
    expect([...ending.stages].sort()).toEqual(['captured', 'inspected', 'loaded']);
  });
});

describe('process.exit() ends it with its own code, whatever the engine does', () => {
  it.each([
    'model-open',
    'same-turn',
    'submitted',
    'computing',
    'queue-full-of-work',
    'closing',
    'in-another-exit-handler',
    'work-begun-on-exit',
  ])('%s', async (when) => {
    expectEnding(await runChild(exit, { args: [when] }), { code: 7, stages: ['loaded', 'exiting'] });
  });

  // At moments that differ, since a crash may need one.
  it.each([0, 2, 5, 10, 20, 40, 80])('while loading, after %i ms', async (delay) => {
    expectEnding(await runChild(exit, { args: ['while-loading', String(delay)] }), { code: 7, stages: ['exiting'] });
  });

  it.each([0, 3, 7, 13, 31])('computing for %i ms', async (delay) => {
    expectEnding(await runChild(exit, { args: ['computing', String(delay)] }), {
      code: 7,
      stages: ['loaded', 'exiting'],
    });
  });
});

describe('failures and signals amid work', () => {
  it.each([
    ['throw', 'throwing'],
    ['reject', 'rejecting'],
  ])('%s: exit code 1 and the reason on stderr', async (when, last) => {
    const ending = await runChild(exit, { args: [when] });
    expectEnding(ending, { code: 1, stages: ['loaded', last] });
    expect(ending.stderr).toContain("the user's own mistake");
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('%s ends it', async (signal) => {
    const ending = await runChild(exit, { args: ['signal'], kill: { at: 'waiting', signal } });
    expect(ending.hungIn, ending.stderr).toBeNull();
    expect({ code: ending.code, signal: ending.signal }, ending.stderr).toEqual({ code: null, signal });
    expect(ending.stderr).toBe('');
  });
});
