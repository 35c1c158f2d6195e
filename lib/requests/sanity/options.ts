import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { parseOptions, readOptions } from '../../support/options.js';
import { classTargetsSchema, commonSchema, parseExplainOptions } from '../explain-options.js';
import { SANITY_CHECKS, type SanityCheckName, type SanityOptions } from './sanity.js';
import { SIMILARITIES, type Similarity } from './similarity.js';

const LAYERS = 'a list of the paths of modules is expected';
const SEED = 'a whole number from 0 to 4294967295 is expected';
const schema = z.strictObject({
  check: z.enum(SANITY_CHECKS, { error: `${SANITY_CHECKS.join(', ')} is expected` }),
  method: z.unknown(),
  targets: classTargetsSchema,
  similarity: z.enum(SIMILARITIES, { error: `${SIMILARITIES.join(', ')} is expected` }).default('spearman'),
  layers: z
    .array(z.string({ error: LAYERS }).min(1, { error: LAYERS }), { error: LAYERS })
    .min(1, { error: LAYERS })
    .optional(),
  seed: z.int({ error: SEED }).min(0, { error: SEED }).max(4_294_967_295, { error: SEED }).default(0),
  onProgress: z
    .custom<NonNullable<SanityOptions['onProgress']>>((value) => typeof value === 'function', {
      error: 'a function is expected',
    })
    .optional(),
  signal: commonSchema.shape.signal,
});

/** What is asked of a sanity check, checked as far as can be without the model. */
export interface SanityRequest {
  readonly check: SanityCheckName;
  /** The method's name. */
  readonly name: string;
  /** The method's options, `method` among them. */
  readonly method: object;
  readonly targets: SanityOptions['targets'];
  readonly similarity: Similarity;
  readonly layers: readonly string[] | null;
  readonly seed: number;
  readonly onProgress: SanityOptions['onProgress'];
  readonly signal: AbortSignal | undefined;
}

/** @throws SightlineError INVALID_OPTION */
export function parseSanityOptions(options: SanityOptions): SanityRequest {
  const { method: asked, layers, targets, ...rest } = parseOptions(schema, options, 'sanityCheck');
  const method = typeof asked === 'object' && asked !== null ? readOptions(asked, 'sanityCheck') : { method: asked };
  const foreign = ['targets', 'output', 'client', 'signal', 'maxPixels', 'size', 'raw', 'top'].find(
    (name) => name in method,
  );
  if (foreign !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The method of sanityCheck takes no \`${foreign}\`: maps are compared as they are, as large as the model sees the image.`,
    );
  }
  if (rest.check === 'random-logit' && layers !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      'The check random-logit shuffles no weights, so `layers` would do nothing; leave it out.',
    );
  }
  const { name } = parseExplainOptions(method).method;
  return {
    ...rest,
    name,
    method,
    targets: targets,
    layers: layers ?? null,
    onProgress: rest.onProgress,
    signal: rest.signal,
  };
}
