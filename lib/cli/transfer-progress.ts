import type { PullProgress } from '../hub/pull.js';
import type { Session } from './session.js';
import { duration, megabytes } from './words.js';

/** Files such as a config are here before a line about them could be read. */
const WORTH_A_LINE = 1_000_000;
const REDRAW_MS = 100;
const LINE_EVERY_MS = 5000;
const BAR = 24;

/** What a rate is taken over: long enough to be calm, short enough to follow the network. */
const WINDOW_MS = 5000;

/**
 * Shows how far a transfer is: on a terminal one line with a bar, the speed of the last seconds and the time left; else
 * a plain line every few seconds, so that logs stay short. On stderr, as stdout belongs to the answer.
 */
export class TransferProgress {
  #file = '';
  #shownAt = -Infinity;
  #shownPause: string | undefined;
  /** [when, bytes] of the last seconds, oldest first. */
  #samples: (readonly [number, number])[] = [];

  constructor(
    private readonly session: Session,
    private readonly isTerminal = process.stderr.isTTY === true,
    private readonly write: (text: string) => void = (text) => process.stderr.write(text),
    private readonly now: () => number = () => performance.now(),
  ) {}

  update(progress: PullProgress): void {
    const now = this.now();
    if (progress.file !== this.#file) {
      this.#file = progress.file;
      this.#samples = [];
      this.#shownAt = this.isTerminal ? -Infinity : now;
    }
    // Time in which nothing could come says nothing of the network.
    if (progress.pause === undefined) this.#sample(now, progress.done);
    else this.#samples = [];
    const isNewPause = progress.pause !== undefined && progress.pause !== this.#shownPause;
    const isDone = progress.done === progress.total && progress.total >= WORTH_A_LINE;
    const isDue = now - this.#shownAt >= (this.isTerminal ? REDRAW_MS : LINE_EVERY_MS);
    if (!isNewPause && !isDone && !(isDue && progress.total >= WORTH_A_LINE)) return;
    this.#shownAt = now;
    this.#shownPause = progress.pause;
    if (this.isTerminal) this.session.progress(this.#line(progress, now));
    else this.write(`${this.#line(progress, now)}\n`);
  }

  #sample(now: number, done: number): void {
    // A transfer that begins again would show a negative speed.
    if (done < (this.#samples.at(-1)?.[1] ?? 0)) this.#samples = [];
    if (now - (this.#samples.at(-1)?.[0] ?? -Infinity) >= 50) this.#samples.push([now, done]);
    while (this.#samples.length > 2 && now - this.#samples[1]![0] > WINDOW_MS) this.#samples.shift();
  }

  #line({ file, done, total, pause }: PullProgress, now: number): string {
    const share = total === 0 ? 1 : done / total;
    const filled = Math.floor(BAR * share);
    const bar = this.isTerminal ? ` [${'#'.repeat(filled)}${'-'.repeat(BAR - filled)}]` : '';
    const amount = `${megabytes(done)} of ${megabytes(total)} (${Math.floor(100 * share)} %)`;
    if (pause !== undefined) return `  ${file}: ${amount}: ${pause}`;
    const [since, before] = this.#samples[0] ?? [now, done];
    const speed = now - since < 200 ? 0 : (1000 * (done - before)) / (now - since);
    const rest = speed > 0 && done < total ? `, ${duration((total - done) / speed)} left` : '';
    return `  ${file}:${bar} ${amount}${speed > 0 ? `, ${megabytes(speed)}/s` : ''}${rest}`;
  }
}
