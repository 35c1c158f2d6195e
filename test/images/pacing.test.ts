import { expect, it } from 'vitest';

import { eachRow } from '../../lib/support/event-loop.js';

function busy(ms: number): void {
  const begun = performance.now();
  while (performance.now() - begun < ms);
}

it('visits every row once, in order', async () => {
  const seen: number[] = [];
  await eachRow(5, (y) => seen.push(y));
  expect(seen).toEqual([0, 1, 2, 3, 4]);
  await eachRow(0, () => expect.unreachable());
});

it('lets the event loop turn every few milliseconds', async () => {
  let turns = 0;
  let over = false;
  const count = (): void => {
    turns++;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  await eachRow(40, () => busy(1));
  over = true;
  // 40 ms of work in stretches of a little over 2 ms; a loop that holds the thread gives no turn at all.
  expect(turns).toBeGreaterThanOrEqual(10);
});
