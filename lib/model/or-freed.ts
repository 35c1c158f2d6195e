import { untilAborted } from '../support/abort.js';

/** The engine cannot stop within a step of loading. Nobody holds what it loads after an abort, so it is freed. */
export async function orFreed<T extends { close(): Promise<void> }>(
  loading: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  try {
    return await untilAborted(loading, signal);
  } catch (error) {
    loading.then(
      (loaded) => loaded.close(),
      () => undefined,
    );
    throw error;
  }
}
