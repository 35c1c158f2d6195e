import { z } from 'zod';

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
