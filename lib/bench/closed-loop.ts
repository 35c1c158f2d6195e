export interface LoopSample {
  /** Of each request, in milliseconds, in the order in which they ended. */
  readonly latencies: readonly number[];
  /** From the first request's start to the last one's end. */
  readonly milliseconds: number;
}

/**
 * A closed loop: `concurrency` callers, each of which asks again as soon as it has its answer, until `requests`
 * requests were made in all. A first rejection ends the loop; it rejects once nothing is in flight any more.
 */
export async function closedLoop(
  { concurrency, requests }: { readonly concurrency: number; readonly requests: number },
  request: (number: number) => Promise<unknown>,
  now: () => number = () => performance.now(),
): Promise<LoopSample> {
  const latencies: number[] = [];
  let next = 0;
  let isFailed = false;
  const start = now();
  const caller = async (): Promise<void> => {
    while (next < requests && !isFailed) {
      const asked = now();
      try {
        await request(next++);
      } catch (error) {
        isFailed = true;
        throw error;
      }
      latencies.push(now() - asked);
    }
  };
  const callers = await Promise.allSettled(Array.from({ length: Math.min(concurrency, requests) }, caller));
  for (const outcome of callers) if (outcome.status === 'rejected') throw outcome.reason;
  return { latencies, milliseconds: now() - start };
}
