import { SightlineError, type ErrorCode } from '../support/errors.js';
import { json, type Answer } from './call.js';

/** Codes that a service gives beside those of `ERROR_CODES`, and the HTTP status of each. */
export const SERVICE_CODES = {
  INVALID_REQUEST: 400,
  UNAUTHORIZED: 401,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  NOT_ACCEPTABLE: 406,
  /** What was sent so far came too slowly, and the connection is closed. */
  REQUEST_TIMEOUT: 408,
  BODY_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  EXPECTATION_FAILED: 417,
  LIMIT_EXCEEDED: 422,
  HEADERS_TOO_LARGE: 431,
  /** Of nobody who could read it: the client has gone. */
  CLIENT_GONE: 499,
  NOT_READY: 503,
  OVERLOADED: 503,
  CLOSING: 503,
  DEADLINE_EXCEEDED: 504,
} as const;

/** A code that a service gives beside those of `ERROR_CODES`. */
export type ServiceCode = keyof typeof SERVICE_CODES;

/** Why a request is not answered with what it asks for. */
export class ServiceFailure extends Error {
  constructor(
    readonly code: ServiceCode,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = 'ServiceFailure';
  }
}

/** Of the library's codes, those that are not a fault of the service. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  INVALID_IMAGE: 400,
  INVALID_INPUT: 400,
  INVALID_OPTION: 400,
  UNKNOWN_NODE: 400,
  UNKNOWN_TARGET: 400,
  METHOD_NOT_APPLICABLE: 422,
  QUEUE_FULL: 503,
  OUT_OF_MEMORY: 503,
  MODEL_CLOSED: 503,
};

export interface Failed {
  readonly status: number;
  readonly code: ErrorCode | ServiceCode;
  readonly answer: Answer & { readonly body: string };
}

/**
 * What a client is told of an error. Of a fault of the service it learns no more than that there was one: messages of
 * operators and files are for the log.
 *
 * @param retryAfter seconds
 */
export function failed(error: unknown, retryAfter: number): Failed {
  const { status, code, message, headers = {} } = described(error);
  const retry: Record<string, string> = status === 503 ? { 'retry-after': String(retryAfter) } : {};
  return { status, code, answer: json({ error: message, code }, status, { ...retry, ...headers }) };
}

/** The same as one line of text, for an answer whose status is sent already. */
export function failedLine(error: unknown): string {
  const { code, message } = described(error);
  return JSON.stringify({ error: message, code });
}

function described(error: unknown): {
  status: number;
  code: ErrorCode | ServiceCode;
  message: string;
  headers?: Readonly<Record<string, string>>;
} {
  if (error instanceof ServiceFailure) {
    const { code, message, headers } = error;
    return { status: SERVICE_CODES[code], code, message, headers };
  }
  if (error instanceof SightlineError) {
    // What aborts a request says why: the service, or a model that its owner closed.
    if (error.code === 'ABORTED' && error.cause !== undefined) return described(error.cause);
    const isLarge = error.code === 'INVALID_IMAGE' && error.details['maxPixels'] !== undefined;
    const status = isLarge ? 413 : STATUS[error.code];
    if (status !== undefined) return { status, code: error.code, message: error.message };
    return { status: 500, code: error.code, message: 'The request failed within the service; its log says why.' };
  }
  return { status: 500, code: 'INTERNAL', message: 'The request failed within the service; its log says why.' };
}
