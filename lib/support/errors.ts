/**
 * Every way in which sightline refuses a request. Codes are stable: match on them, not on messages.
 *
 * The caller can mend every one but `INTERNAL`; the command line answers those with exit code 2.
 */
export type ErrorCode =
  | 'FILE_NOT_FOUND'
  | 'NOT_A_FILE'
  | 'NOT_TORCHSCRIPT'
  | 'UNTRUSTED_ARCHIVE'
  | 'ARCHIVE_CRASHED'
  | 'ARCHIVE_TIMED_OUT'
  | 'PROCESS_NOT_STARTED'
  | 'UNSUPPORTED_MODEL'
  | 'UNKNOWN_MODEL'
  | 'INVALID_CARD'
  | 'INVALID_WEIGHTS'
  | 'INVALID_IMAGE'
  | 'INVALID_INPUT'
  | 'INVALID_OPTION'
  | 'UNKNOWN_NODE'
  | 'UNKNOWN_TARGET'
  | 'METHOD_NOT_APPLICABLE'
  | 'STEP_FAILED'
  | 'DEVICE_UNAVAILABLE'
  | 'OUT_OF_MEMORY'
  | 'QUEUE_FULL'
  | 'MODEL_CLOSED'
  | 'ABORTED'
  | 'NOT_PULLED'
  | 'HUB_UNREACHABLE'
  | 'HUB_REFUSED'
  | 'WRONG_HASH'
  | 'DISK_FULL'
  | 'CACHE_NOT_WRITABLE'
  | 'NATIVE_MISSING'
  | 'INTERNAL';

/** Of a message, in characters: whatever it repeats of a user's, it stays a sentence. */
const LONGEST = 2000;

/** The one error class of the package: a sentence for people in `message`, a stable `code` for programs. */
export class SightlineError extends Error {
  /** What went wrong, for programs: stable between versions. */
  readonly code: ErrorCode;
  /** What a program may want besides the code, such as the full LibTorch message or the list of known names. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: Record<string, unknown> } = {}) {
    super(message.length <= LONGEST ? message : `${message.slice(0, LONGEST - 500)} ... ${message.slice(-400)}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SightlineError';
    this.code = code;
    this.details = options.details ?? {};
  }

  /** What a client needs of it: JSON leaves out an error's message. */
  toJSON(): { name: string; code: ErrorCode; message: string; details: Readonly<Record<string, unknown>> } {
    return { name: this.name, code: this.code, message: this.message, details: this.details };
  }
}
