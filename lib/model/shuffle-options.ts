import { z } from 'zod';

/** Options of `Model.shuffled`. */
export interface ShuffleOptions {
  /** By which the numbers are shuffled: 0 to 4,294,967,295. The same seed gives the same model. Default 0. */
  readonly seed?: number | undefined;
  /**
   * Paths of the modules whose parameters are shuffled, with those below, such as `['layer4', 'fc']`. The same seed
   * shuffles a parameter in the same way whatever else is. Default: all parameters.
   */
  readonly layers?: readonly string[] | undefined;
  /** Aborting rejects with ABORTED at once, as in `Model.load`. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

const SEED = 'a whole number from 0 to 4294967295 is expected';
const LAYERS = 'a list of the paths of modules is expected';

export const shuffleSchema = z.strictObject({
  seed: z.int({ error: SEED }).min(0, { error: SEED }).max(4_294_967_295, { error: SEED }).default(0),
  layers: z
    .array(z.string({ error: LAYERS }).min(1, { error: LAYERS }), { error: LAYERS })
    .min(1, { error: LAYERS })
    .optional(),
  signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional(),
});
