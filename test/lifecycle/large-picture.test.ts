import { expect, it } from 'vitest';

import { expectEnding, runChild } from './child.js';

it('a large picture is not made floating point as a whole', async () => {
  const ending = await runChild(new URL('./children/large-picture.mjs', import.meta.url));
  expectEnding(ending, { stages: ['made'] });
  const [{ pixels, taken }] = ending.reports as [{ pixels: number; taken: number }];
  // Its copy, and a strip: as float32 it would be four times its size more.
  expect(taken).toBeLessThan(2 * pixels);
});
