import { onAbort } from '../support/abort.js';
import { cut } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import type { Call } from './call.js';
import { ServiceFailure } from './failure.js';

/** The memory that the bodies of all requests in flight may take together. */
export class BodyMemory {
  private used = 0;

  constructor(private readonly most: number) {}

  /** @throws ServiceFailure OVERLOADED */
  take(bytes: number): void {
    if (this.used + bytes > this.most) {
      throw new ServiceFailure(
        'OVERLOADED',
        `The requests in flight take the ${this.most.toLocaleString('en-US')} bytes that their bodies may; try again later.`,
        { connection: 'close' },
      );
    }
    this.used += bytes;
  }

  give(bytes: number): void {
    this.used -= bytes;
  }
}

/** What a body is held to. */
export interface BodyLimits {
  /** Most bytes of this one. */
  readonly limit: number;
  readonly memory: BodyMemory;
  /** Gets what gives its memory back. */
  readonly releases: (() => void)[];
  readonly signal: AbortSignal;
}

/**
 * The body of a request, up to a limit; the rest of a larger one is not read.
 *
 * @throws ServiceFailure BODY_TOO_LARGE, OVERLOADED, UNSUPPORTED_MEDIA_TYPE, CLIENT_GONE
 */
export async function readBody(call: Call, { limit, memory, releases, signal }: BodyLimits): Promise<Buffer> {
  const encoding = (call.header('content-encoding') ?? 'identity').trim().toLowerCase();
  if (encoding !== 'identity') {
    throw new ServiceFailure(
      'UNSUPPORTED_MEDIA_TYPE',
      `The body is encoded as ${cut(encoding)}; send it as it is, without Content-Encoding.`,
      { 'accept-encoding': 'identity' },
    );
  }
  const tooLarge = (): ServiceFailure =>
    new ServiceFailure(
      'BODY_TOO_LARGE',
      `The body is larger than the ${limit.toLocaleString('en-US')} bytes that this service reads.`,
      { connection: 'close' },
    );
  if (Number(call.header('content-length') ?? 0) > limit) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let length = 0;
  releases.push(() => memory.give(length));
  const iterator: AsyncIterator<Uint8Array, unknown> = call.body[Symbol.asyncIterator]();
  let stop = (): void => undefined;
  // A client that sends a byte now and then is held to the deadline too.
  const aborted = new Promise<never>((_, reject) => {
    stop = onAbort(signal, () => reject(signal.reason));
  });
  aborted.catch(() => undefined);
  try {
    signal.throwIfAborted();
    for (;;) {
      const { done, value } = await Promise.race([iterator.next().catch(brokenOff), aborted]);
      if (done === true) return Buffer.concat(chunks, length);
      if (length + value.byteLength > limit) throw tooLarge();
      // What was announced and does not come takes none.
      memory.take(value.byteLength);
      length += value.byteLength;
      chunks.push(value);
    }
  } finally {
    stop();
  }
}

/** A connection that ends within a body, or goes on as no body does, is no fault of the service. */
function brokenOff(error: unknown): never {
  if (error instanceof SightlineError || error instanceof ServiceFailure) throw error;
  throw new ServiceFailure('CLIENT_GONE', 'The body was broken off.');
}

/** @throws ServiceFailure INVALID_REQUEST */
export function parseJson(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new ServiceFailure('INVALID_REQUEST', 'The body is no JSON.');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ServiceFailure('INVALID_REQUEST', 'The body is no JSON object.');
  }
  return value as Record<string, unknown>;
}
