import { setImmediate } from 'node:timers/promises';

/** How long bursts of work may hold the JavaScript thread in one turn of the event loop, in milliseconds. */
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
