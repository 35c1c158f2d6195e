import { CommanderError } from 'commander';

import { SightlineError, type ErrorCode } from '../support/errors.js';

/** A failure as the command line reports it. */
export interface Failure {
  readonly code: ErrorCode;
  /** One line. */
  readonly message: string;
  /** 2: the request is wrong; 1: anything else; 130: interrupted. */
  readonly exitCode: number;
}

/** Failures that another request cannot repair. */
const OWN_FAULTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'INTERNAL',
  'STEP_FAILED',
  'NATIVE_MISSING',
  'OUT_OF_MEMORY',
  'HUB_UNREACHABLE',
  'WRONG_HASH',
  'DISK_FULL',
  'PROCESS_NOT_STARTED',
]);

/** 128 + SIGINT, as shells count it. */
const INTERRUPTED = 130;

export function failureOf(error: unknown): Failure {
  if (error instanceof CommanderError) return { code: 'INVALID_OPTION', message: usageMessage(error), exitCode: 2 };
  if (error instanceof SightlineError) {
    const exitCode = error.code === 'ABORTED' ? INTERRUPTED : OWN_FAULTS.has(error.code) ? 1 : 2;
    return { code: error.code, message: oneLine(error.message), exitCode };
  }
  return { code: 'INTERNAL', message: oneLine(error instanceof Error ? error.message : String(error)), exitCode: 1 };
}

/** commander's "error: unknown option '--x'\n(Did you mean --y?)" as one sentence. */
function usageMessage(error: CommanderError): string {
  const message = oneLine(error.message.replace(/^error: /, '')).replace(/ \((Did you mean .*\?)\)$/, '. $1');
  const sentence = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.?!]$/.test(sentence) ? sentence : `${sentence}.`;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').trim();
}
