import { setImmediate } from 'node:timers/promises';

/** How long one turn of the event loop may be held by a burst of work or a pixel loop, in milliseconds. */
const STRETCH_MS = 2;

let begun: number | null = null;
let next: Promise<void> | null = null;

/**
 * Runs `work` in the first turn of the event loop that has room for it. A hundred requests that arrive at once would
 * otherwise all copy their images in one turn, and everything else would wait for the last.
 */
export async function inTurn<T>(work: () => T): Promise<T> {
  while (begun !== null && performance.now() - begun > STRETCH_MS) await next;
  if (begun === null) {
    begun = performance.now();
    next = setImmediate().then(() => {
      begun = null;
    });
  }
  return work();
}

/**
 * Runs `row(y)` for y in [0, rows) and lets the event loop turn every two milliseconds, so that painting a large
 * photo never delays a server's other requests.
 */
export async function eachRow(rows: number, row: (y: number) => void): Promise<void> {
  let started = performance.now();
  for (let y = 0; y < rows; y++) {
    row(y);
    if (performance.now() - started > STRETCH_MS) {
      await setImmediate();
      started = performance.now();
    }
  }
}
