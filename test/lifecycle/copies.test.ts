import { expect, it } from 'vitest';

import { expectEnding, runChild } from './child.js';

const script = new URL('./children/copies.mjs', import.meta.url);

it.each([
  ['require', [1, 1]],
  ['instance', [1, 1]],
  // Two addons, each with an engine of its own, on one LibTorch.
  ['installation', [0, 1]],
])('the package twice in one process: %s', async (what, models) => {
  const ending = await runChild(script, { args: [what] });
  expectEnding(ending, { code: 7, stages: ['first', 'exiting'] });
  expect(ending.reports).toEqual([{ same: true, models }]);
});
