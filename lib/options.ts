import type { z } from 'zod';

import { SightlineError } from './errors.js';

/**
 * Options as a schema reads them; what is undefined counts as left out.
 *
 * @param subject what the sentence is about: "The options of SUBJECT are wrong: ..."
 * @throws SightlineError INVALID_OPTION in one sentence that names the option.
 */
export function parseOptions<Schema extends z.ZodObject>(schema: Schema, options: object, subject: string): z.output<Schema> {
  if (typeof options !== 'object' || options === null) throw new SightlineError('INVALID_OPTION', `The options of ${subject} are missing; it takes ${Object.keys(schema.shape).join(', ')}.`);
  const parsed = schema.safeParse(Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const what = issue.code === 'unrecognized_keys' ? `there is no option "${issue.keys[0]}"` : `${issue.path.join('.')}: ${issue.message}`;
  throw new SightlineError('INVALID_OPTION', `The options of ${subject} are wrong: ${what}; it takes ${Object.keys(schema.shape).join(', ')}.`);
}
