/** What every command shares: how it speaks, and the signal that Ctrl-C aborts. */
export interface Session {
  /** Whether stdout is to hold one JSON document and nothing else. */
  readonly json: boolean;
  readonly signal: AbortSignal;
  /** A line for people, on stdout; nothing with `--json`. */
  print(line: string): void;
  /** The answer for programs, on stdout; nothing without `--json`. */
  answer(document: object): void;
  /** A remark, on stderr, as soon as there is a result that it belongs to. */
  readonly note: (sentence: string) => void;
  /** Why there is no result, on stderr: one line, so remarks that still wait are dropped. */
  fail(message: string): void;
  /** Shows how far the work is, on stderr, where that is a terminal. */
  readonly progress: (line: string) => void;
}

export function createSession(json: boolean, signal: AbortSignal): Session {
  let isLineOpen = false;
  const told = new Set<string>();
  let waiting: string[] = [];
  const endLine = (): void => {
    if (isLineOpen) process.stderr.write('\r\x1b[K');
    isLineOpen = false;
  };
  const flush = (): void => {
    endLine();
    for (const sentence of waiting) process.stderr.write(`sightline: note: ${sentence}\n`);
    waiting = [];
  };
  return {
    json,
    signal,
    print: (line) => {
      if (json) return;
      flush();
      process.stdout.write(`${line}\n`);
    },
    answer: (document) => {
      if (!json) return;
      flush();
      process.stdout.write(`${JSON.stringify(document)}\n`);
    },
    note: (sentence) => {
      // Several models may have the same to remark.
      if (!told.has(sentence)) waiting.push(sentence);
      told.add(sentence);
    },
    fail: (message) => {
      waiting = [];
      endLine();
      process.stderr.write(`sightline: ${message}\n`);
    },
    progress: (line) => {
      if (!process.stderr.isTTY) return;
      endLine();
      process.stderr.write(line);
      isLineOpen = true;
    },
  };
}
