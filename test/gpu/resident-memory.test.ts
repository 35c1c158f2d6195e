import { expect, it } from 'vitest';

import { expectEnding, runChild } from '../lifecycle/child.js';

it('2,000 explanations after warm-up leave host and GPU memory as they were', async () => {
  const ending = await runChild(new URL('./children/resident-memory.mjs', import.meta.url), {
    node: ['--expose-gc'],
    env: { MALLOC_ARENA_MAX: '1' },
  });
  expectEnding(ending, { stages: ['end'] });
  const [{ resident, allocated, reserved }] = ending.reports as [
    { resident: number; allocated: number; reserved: number },
  ];
  expect(resident).toBeLessThan(1.02);
  expect(allocated).toBe(0);
  expect(reserved).toBe(0);
});
