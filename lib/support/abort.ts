import { SightlineError } from './errors.js';

/** What waits for each signal. One listener serves all: Node warns of a leak where a signal has more than ten. */
const waiting = new WeakMap<AbortSignal, { readonly callbacks: Set<() => void>; readonly listener: () => void }>();

/**
 * Calls `callback` when the signal is aborted; nothing without a signal.
 *
 * @returns a function that ends the waiting
 */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return () => undefined;
  let entry = waiting.get(signal);
  if (entry === undefined) {
    const callbacks = new Set<() => void>();
    entry = { callbacks, listener: () => [...callbacks].forEach((each) => each()) };
    waiting.set(signal, entry);
    signal.addEventListener('abort', entry.listener, { once: true });
  }
  const { callbacks, listener } = entry;
  // A function of its own each time: one callback may wait twice.
  const own = (): void => callback();
  callbacks.add(own);
  return () => {
    callbacks.delete(own);
    if (callbacks.size > 0 || waiting.get(signal)?.callbacks !== callbacks) return;
    waiting.delete(signal);
    signal.removeEventListener('abort', listener);
  };
}

/**
 * Does `work` with a signal that is aborted when either of the two is, by its reason. Not AbortSignal.any: a signal
 * that lives as long as a model would keep the traces of every request.
 */
export async function withEither<T>(
  lasting: AbortSignal,
  own: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const either = new AbortController();
  const follow = (signal: AbortSignal | undefined): (() => void) => {
    if (signal?.aborted) either.abort(signal.reason);
    return onAbort(signal, () => either.abort(signal!.reason));
  };
  const stops = [follow(own), follow(lasting)];
  try {
    return await work(either.signal);
  } finally {
    stops.forEach((stop) => stop());
  }
}

/** The error of an aborted call: its `cause` is the reason of the signal. */
export function abortedBy(signal: AbortSignal | undefined, message = 'The request was aborted.'): SightlineError {
  return new SightlineError('ABORTED', message, { cause: signal?.reason });
}

/** @throws SightlineError ABORTED */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedBy(signal);
}

/**
 * What `work` gives, or ABORTED at once when the signal is aborted first; the work itself goes on, and what becomes of
 * it is not looked at.
 */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(abortedBy(signal));
    else stop = onAbort(signal, () => reject(abortedBy(signal)));
  });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    stop();
  }
}
