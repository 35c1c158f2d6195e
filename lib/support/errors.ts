/**
 * Every way in which sightline refuses a request: each stable code, and when it is given. Match on codes, not on
 * messages.
 */
export const ERROR_CODES = {
  FILE_NOT_FOUND: 'There is no file of that path.',
  NOT_A_FILE: 'The path names a directory, or something else that is no regular file.',
  NOT_TORCHSCRIPT: 'The file is no TorchScript archive, or is a damaged one.',
  UNTRUSTED_ARCHIVE: 'The archive holds code that image classifiers do not need.',
  MODEL_TOO_SLOW: 'The archive takes longer for one image than any classifier, so it may never end.',
  ARCHIVE_CRASHED: 'The process that tried the archive crashed (`isolate`).',
  ARCHIVE_TIMED_OUT: 'The process that tried the archive took too long (`isolate`).',
  PROCESS_NOT_STARTED: 'A process of its own, such as `isolate` needs, could not be started.',
  UNSUPPORTED_MODEL: 'The model loads, but it is of a kind that cannot be explained.',
  UNKNOWN_MODEL: 'No bundled model, no model of the catalog and no file has that name.',
  INVALID_CARD: 'The model card is damaged, incomplete, or not of this model.',
  INVALID_WEIGHTS: 'The checkpoint is damaged, or does not fit its architecture.',
  INVALID_IMAGE: 'An image cannot be decoded, or has too many pixels.',
  INVALID_INPUT: 'An input is of the wrong kind, shape or size.',
  INVALID_OPTION: 'An option is unknown, of the wrong type, or out of its range.',
  UNKNOWN_NODE: 'The model has no node of that name.',
  UNKNOWN_TARGET: 'The model has no class of that index or label.',
  METHOD_NOT_APPLICABLE: 'The method cannot explain this model; the message says why.',
  STEP_FAILED: 'A step failed while it was computed; the message names the method and the line.',
  DEVICE_UNAVAILABLE: 'The device that was asked for is not there, or cannot be used.',
  OUT_OF_MEMORY: 'The device or the process has too little memory for the request.',
  QUEUE_FULL: 'As many images wait as `maxQueue` allows; try again later.',
  MODEL_CLOSED: 'The model was closed before the request.',
  ABORTED: 'The request was aborted by its signal; `cause` is the reason of the signal.',
  NOT_PULLED: 'The model is known, but its weights are not on this machine.',
  HUB_UNREACHABLE: 'The hub cannot be reached, or does not answer.',
  HUB_REFUSED: 'The hub refuses to give the file: it is private, gated or gone.',
  WRONG_HASH: 'The SHA-256 of a file is not the expected one.',
  DISK_FULL: 'The disk has too little space for the file.',
  CACHE_NOT_WRITABLE: 'The folder of the cache cannot be written to.',
  NATIVE_MISSING: 'LibTorch, or an addon for it, is missing; the message says what to run.',
  INTERNAL: 'A fault of sightline itself; please report it.',
} as const;

/** A stable code of a refusal: one of `ERROR_CODES`. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Of a message, in characters: whatever it repeats of a user's, it stays a sentence. */
const LONGEST = 2000;

/**
 * The one error class of the package: a sentence for people in `message`, a stable `code` for programs. Its `name` is
 * `SightlineError`; of `ABORTED` it is `AbortError`, as Node and browsers name the end of an aborted call.
 */
export class SightlineError extends Error {
  /** The kind of failure, for programs: stable between versions. */
  readonly code: ErrorCode;
  /** Details that a program may need besides the code, such as the full LibTorch message or the list of known names. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: Record<string, unknown> } = {}) {
    super(
      message.length <= LONGEST ? message : `${message.slice(0, LONGEST - 500)} ... ${message.slice(-400)}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = code === 'ABORTED' ? 'AbortError' : 'SightlineError';
    this.code = code;
    this.details = options.details ?? {};
  }

  /** The fields that a client needs: JSON leaves out an error's message. */
  toJSON(): { name: string; code: ErrorCode; message: string; details: Readonly<Record<string, unknown>> } {
    return { name: this.name, code: this.code, message: this.message, details: this.details };
  }
}
