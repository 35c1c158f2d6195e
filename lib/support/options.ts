import type { z } from 'zod';

import { cut } from './cut.js';
import { SightlineError, type ErrorCode } from './errors.js';

/**
 * Options as a schema reads them; what is undefined counts as left out.
 *
 * @param subject what the sentence is about: "The options of SUBJECT are wrong: ..."
 * @throws SightlineError INVALID_OPTION in one sentence that names the option.
 */
export function parseOptions<Schema extends z.ZodObject>(
  schema: Schema,
  options: object,
  subject: string,
): z.output<Schema> {
  if (typeof options !== 'object' || options === null) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The options of ${subject} are missing; it takes ${Object.keys(schema.shape).join(', ')}.`,
    );
  }
  const parsed = reading(`The options of ${subject}`, () => schema.safeParse(readOptions(options, subject)));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const what =
    issue.code === 'unrecognized_keys'
      ? `there is no option "${cut(issue.keys[0]!)}"`
      : `${issue.path.join('.')}: ${cut(issue.message)}`;
  throw new SightlineError(
    'INVALID_OPTION',
    `The options of ${subject} are wrong: ${what}; it takes ${Object.keys(schema.shape).join(', ')}.`,
  );
}

/**
 * Reads what is the caller's: a getter or a proxy may throw.
 *
 * @param what the sentence is about: "WHAT cannot be read: ..."
 * @throws SightlineError with the code, and what was thrown as its cause
 */
export function reading<Read>(what: string, read: () => Read, code: ErrorCode = 'INVALID_OPTION'): Read {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof SightlineError) throw cause;
    const why = cut(String((cause as Error | undefined)?.message));
    throw new SightlineError(code, `${what} cannot be read: ${why}.`, { cause });
  }
}

/**
 * An object's own options, read once; what is undefined counts as left out.
 *
 * @throws SightlineError INVALID_OPTION where reading one fails, as a getter may
 */
export function readOptions(options: object, subject: string): Record<string, unknown> {
  const read: Record<string, unknown> = {};
  for (const name of Object.keys(options)) {
    // Which JSON can have, and which an object would take for its prototype.
    if (name === '__proto__') {
      throw new SightlineError(
        'INVALID_OPTION',
        `The options of ${subject} are wrong: there is no option "__proto__".`,
      );
    }
    const value = reading(`The option ${cut(name)} of ${subject}`, () => (options as Record<string, unknown>)[name]);
    if (value !== undefined) read[name] = value;
  }
  return read;
}
