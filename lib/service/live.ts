import { withEither } from '../support/abort.js';
import type { Answer, Streamed } from './call.js';
import { failedLine, ServiceFailure } from './failure.js';

export const LINES = 'application/x-ndjson';

/** Lines of JSON. A reader that is slow gets the newest in place of those that it missed. */
class Lines implements Streamed {
  private waiting: string[] = [];
  private isOver = false;
  private wake: (() => void) | null = null;

  constructor(
    readonly ended: Promise<unknown>,
    private readonly leave: () => void,
  ) {}

  put(line: string): void {
    this.waiting = [line];
    this.wake?.();
  }

  finish(line: string): void {
    this.waiting.push(line);
    this.isOver = true;
    this.wake?.();
  }

  [Symbol.asyncIterator](): AsyncIterator<string, undefined> {
    return {
      next: async () => {
        while (this.waiting.length === 0 && !this.isOver) await new Promise<void>((resolve) => (this.wake = resolve));
        const line = this.waiting.shift();
        return line === undefined ? { done: true, value: undefined } : { done: false, value: `${line}\n` };
      },
      // Also before anything was read, where a generator would not notice.
      return: () => {
        this.leave();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}

/**
 * Work that tells how far it has come, a line each time, and its result in the last one. What is refused before the
 * first line is refused by its status, as ever; what fails later says so in the last line.
 *
 * @param work is told to stop by its signal, also when the reader leaves
 */
export async function liveAnswer(
  signal: AbortSignal,
  work: (tell: (line: object) => void, signal: AbortSignal) => Promise<object>,
): Promise<Answer> {
  const left = new AbortController();
  let ended!: (error: unknown) => void;
  const lines = new Lines(new Promise((resolve) => (ended = resolve)), () =>
    left.abort(new ServiceFailure('CLIENT_GONE', 'The client has gone.')),
  );
  await new Promise<void>((begun, refused) => {
    let hasBegun = false;
    const tell = (line: object): void => {
      hasBegun = true;
      lines.put(JSON.stringify(line));
      begun();
    };
    withEither(signal, left.signal, (either) => work(tell, either)).then(
      (last) => {
        lines.finish(JSON.stringify(last));
        begun();
        ended(null);
      },
      (error: unknown) => {
        if (!hasBegun) refused(error);
        lines.finish(failedLine(error));
        ended(error);
      },
    );
  });
  return { status: 200, headers: { 'content-type': LINES }, body: lines };
}
