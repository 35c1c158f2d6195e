import { setImmediate } from 'node:timers/promises';

/** How long a pixel loop may hold the JavaScript thread at a stretch, in milliseconds. */
const STRETCH_MS = 2;

/**
 * Runs `row(y)` for y in [0, rows) and lets the event loop turn every two milliseconds, so that painting a large
 * photo never delays a server's other requests.
 */
export async function eachRow(rows: number, row: (y: number) => void): Promise<void> {
  let begun = performance.now();
  for (let y = 0; y < rows; y++) {
    row(y);
    if (performance.now() - begun > STRETCH_MS) {
      await setImmediate();
      begun = performance.now();
    }
  }
}
