import { z } from 'zod';

import type { InFlight } from './in-flight.js';

/** Options of `Model.close`. */
export interface CloseOptions {
  /**
   * Milliseconds that the work in flight may still take: 0 to 2,147,483,647, where 0 ends it at once. Default: as long
   * as it needs.
   */
  readonly timeout?: number | undefined;
}

const MILLISECONDS = 'a whole number of milliseconds from 0 to 2147483647 is expected';

export const closeSchema = z.strictObject({
  timeout: z
    .int({ error: MILLISECONDS })
    .min(0, { error: MILLISECONDS })
    .max(2_147_483_647, { error: MILLISECONDS })
    .optional(),
});

/** Ends the work in flight once the time is over, unless the model was closed before. `timeout` is in milliseconds. */
export function endAfter(timeout: number, closing: Promise<void>, inFlight: InFlight, path: string): void {
  const end = (): void =>
    inFlight.abort(`The model ${path} was closed, and its work in flight took longer than ${timeout} ms.`);
  if (timeout === 0) {
    end();
    return;
  }
  const timer = setTimeout(end, timeout);
  void closing.finally(() => clearTimeout(timer)).catch(() => undefined);
}
