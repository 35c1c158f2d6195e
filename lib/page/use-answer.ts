import { useEffect, useState } from 'preact/hooks';

import { Refusal } from './api.js';

/** What is known of a question: the last answer stays until the next one is there. */
export interface Asked<T> {
  readonly answer: T | null;
  /** The question that `answer` is of. */
  readonly key: string | null;
  readonly isLoading: boolean;
  readonly refusal: string | null;
}

/**
 * Asks again when `key` changes, and lets go of what was asked before: the service ends the work of a client that goes
 * away, so of many requests the last one wins. A request each does all that a socket would, and keeps no state between.
 */
export function useAnswer<T>(key: string | null, work: (signal: AbortSignal) => Promise<T>): Asked<T> {
  const [asked, setAsked] = useState<Asked<T>>({ answer: null, key: null, isLoading: key !== null, refusal: null });
  useEffect(() => {
    if (key === null) return undefined;
    const controller = new AbortController();
    setAsked((before) => ({ ...before, isLoading: true, refusal: null }));
    work(controller.signal).then(
      (answer) => {
        if (!controller.signal.aborted) setAsked({ answer, key, isLoading: false, refusal: null });
      },
      (error: unknown) => {
        if (controller.signal.aborted) return;
        const refusal = error instanceof Refusal ? error.message : `The page failed: ${String(error)}`;
        setAsked({ answer: null, key: null, isLoading: false, refusal });
      },
    );
    return () => controller.abort();
    // The key says all that `work` depends on.
  }, [key]);
  return asked;
}
