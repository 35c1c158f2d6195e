import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { tmpdir } from 'node:os';

import { SightlineError } from './errors.js';

/**
 * Starts a process of the package's own. Some reasons for which it cannot be started are thrown here; others come as
 * the event 'error', which the caller gives to `notStarted` too.
 */
export function forked(
  notStarted: (cause: unknown) => SightlineError,
  program: string,
  args: readonly string[],
  options: ForkOptions,
): ChildProcess {
  try {
    return fork(program, args, options);
  } catch (cause) {
    throw notStarted(cause);
  }
}

/**
 * PROCESS_NOT_STARTED.
 *
 * @param subject the process, as the sentence begins
 * @param otherwise what else the user can do, after "or"; empty where there is nothing
 */
export function processNotStarted(subject: string, otherwise: string, cause: unknown): SightlineError {
  const { message } = cause as Error;
  return new SightlineError(
    'PROCESS_NOT_STARTED',
    `${subject} could not be started (${message}); free processes, memory or space in ${tmpdir()}${otherwise === '' ? '' : `, ${otherwise}`}.`,
    { cause },
  );
}
