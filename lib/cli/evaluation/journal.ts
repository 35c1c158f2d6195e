import { createReadStream } from 'node:fs';
import { open, rm, stat, type FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';

import { z } from 'zod';

import type { Judgement } from '../../requests/evaluate/evaluate.js';
import { SightlineError } from '../../support/errors.js';
import { firstLine, isMissing } from '../../support/files.js';

/** What figures depend on beside the picture: by the words that messages call it. */
export type Question = Readonly<Record<string, unknown>>;

/** Finite ones as they are, others as words: JSON has no NaN. */
const number = z.union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity']).transform(Number)]);
const prediction = z.object({ index: z.number(), label: z.string(), score: number });
const header = z.object({ journal: z.literal(1), question: z.record(z.string(), z.unknown()) });
const entry = z.object({
  picture: z.string(),
  method: z.string(),
  judgements: z.array(
    z.object({
      image: z.string(),
      method: z.string(),
      target: prediction.extend({ against: prediction.optional() }),
      state: z.enum(['ok', 'flat', 'nan']),
      figures: z.record(z.string(), number),
      curves: z.record(z.string(), z.object({ shares: z.array(number), scores: z.array(number) })),
    }),
  ),
});

/** The judgements of one method about one picture. */
export interface JournalEntry {
  /** What the picture is, with its class and its object. */
  readonly picture: string;
  readonly method: string;
  readonly judgements: readonly Judgement[];
}

/** What was judged, a line each as it comes, so that an evaluation which ends early can be gone on with. */
export class Journal {
  readonly #known: Map<string, readonly Judgement[]>;

  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    known: Map<string, readonly Judgement[]>,
  ) {
    this.#known = known;
  }

  /**
   * Begins a journal, or goes on with the one that is there. A last line that was not written to its end is dropped.
   *
   * @throws SightlineError INVALID_OPTION for one of another question, one that is damaged or cannot be written, and
   * one that has judgements and is not to be gone on with
   */
  static async open(path: string, question: Question, { resume }: { readonly resume: boolean }): Promise<Journal> {
    const before = await readJournal(path);
    if (before !== null && before.known.size > 0) {
      if (!resume) {
        throw new SightlineError(
          'INVALID_OPTION',
          `${path} has the figures of an evaluation that was interrupted; go on with it by --resume, or delete it to begin again.`,
        );
      }
      const other = differenceOf(before.question, question);
      if (other !== null) {
        throw new SightlineError(
          'INVALID_OPTION',
          `${path} was begun with another ${other}; repeat that command, or delete the file to begin again.`,
        );
      }
    }
    try {
      const isKept = before !== null && before.known.size > 0;
      const handle = await open(path, isKept ? 'a' : 'w');
      await (isKept
        ? handle.truncate(before.bytes)
        : handle.appendFile(`${JSON.stringify({ journal: 1, question })}\n`));
      return new Journal(path, handle, isKept ? before.known : new Map<string, readonly Judgement[]>());
    } catch (cause) {
      throw new SightlineError('INVALID_OPTION', `${path} cannot be written: ${firstLine(cause)}.`, { cause });
    }
  }

  /** Undefined where they are not known. */
  judgementsOf(picture: string, method: string): readonly Judgement[] | undefined {
    return this.#known.get(keyOf(picture, method));
  }

  /** @throws SightlineError DISK_FULL, INVALID_OPTION */
  async add(entries: readonly JournalEntry[]): Promise<void> {
    for (const each of entries) this.#known.set(keyOf(each.picture, each.method), each.judgements);
    try {
      await this.handle.appendFile(entries.map((each) => `${asLine(each)}\n`).join(''));
    } catch (cause) {
      const isFull = (cause as NodeJS.ErrnoException).code === 'ENOSPC';
      throw new SightlineError(
        isFull ? 'DISK_FULL' : 'INVALID_OPTION',
        `${this.path} cannot be written: ${firstLine(cause)}.`,
        { cause },
      );
    }
  }

  /**
   * Ends the writing, and leaves what there is to be gone on with.
   *
   * @returns whether there is anything; else the file is removed
   */
  async leave(): Promise<boolean> {
    await this.handle.close();
    if (this.#known.size === 0) await rm(this.path, { force: true });
    return this.#known.size > 0;
  }

  /** Ends it and removes the file, since the whole answer was written. */
  async finish(): Promise<void> {
    await this.handle.close();
    await rm(this.path, { force: true });
  }
}

interface Written {
  readonly question: Question;
  readonly known: Map<string, readonly Judgement[]>;
  /** Up to the end of the last whole line. */
  readonly bytes: number;
}

/** Null where there is none. @throws SightlineError INVALID_OPTION */
async function readJournal(path: string): Promise<Written | null> {
  let size: number;
  try {
    size = (await stat(path)).size;
  } catch (cause) {
    if (isMissing(cause)) return null;
    throw new SightlineError('INVALID_OPTION', `${path} cannot be read: ${firstLine(cause)}.`, { cause });
  }
  let question: Question | null = null;
  const known = new Map<string, readonly Judgement[]>();
  let bytes = 0;
  let at = 0;
  const damaged = (cause: unknown): SightlineError =>
    new SightlineError(
      'INVALID_OPTION',
      `Line ${at} of ${path} is no journal of evaluate; delete the file to begin again.`,
      { cause },
    );
  try {
    for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
      at++;
      const end = bytes + Buffer.byteLength(line) + 1;
      // The process ended while it wrote.
      if (end > size) break;
      const json = JSON.parse(line) as unknown;
      if (question === null) {
        question = header.parse(json).question;
      } else {
        const { picture, method, judgements } = entry.parse(json);
        known.set(keyOf(picture, method), judgements.map(withCurves));
      }
      bytes = end;
    }
  } catch (cause) {
    throw damaged(cause);
  }
  return question === null ? null : { question, known, bytes };
}

const keyOf = (picture: string, method: string): string => JSON.stringify([picture, method]);

function withCurves(read: z.infer<typeof entry>['judgements'][number]): Judgement {
  const { against, ...target } = read.target;
  return {
    ...read,
    target: against === undefined ? target : { ...target, against },
    curves: Object.fromEntries(
      Object.entries(read.curves).map(([metric, { shares, scores }]) => [
        metric,
        { shares: Float32Array.from(shares), scores: Float32Array.from(scores) },
      ]),
    ),
  };
}

function asLine(each: JournalEntry): string {
  return JSON.stringify(each, (_key, value: unknown) => {
    if (value instanceof Float32Array) {
      return Array.from(value, (item) => (Number.isFinite(item) ? item : String(item)));
    }
    return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  });
}

/** The first thing that two questions differ in; null where there is none. */
function differenceOf(before: Question, now: Question): string | null {
  const names = [...new Set([...Object.keys(now), ...Object.keys(before)])];
  // As JSON has it: undefined is nothing.
  const written = JSON.parse(JSON.stringify(now)) as Question;
  return names.find((name) => JSON.stringify(before[name]) !== JSON.stringify(written[name])) ?? null;
}
