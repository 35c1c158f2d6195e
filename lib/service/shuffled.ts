import type { Model } from '../model/model.js';
import { untilAborted } from '../support/abort.js';
import { ServiceFailure } from './failure.js';

/** Each takes as much memory as its model. */
const MOST = 2;
/** Milliseconds after which one that nobody asked for is closed. */
const IDLE = 60_000;

interface Kept {
  readonly copy: Promise<Model>;
  users: number;
  timer: NodeJS.Timeout | null;
}

/** Copies of models whose weights are shuffled, loaded when the first request asks for one. */
export class ShuffledModels {
  private readonly kept = new Map<Model, Kept>();
  private readonly closing = new Set<Promise<void>>();

  /**
   * The copy for one request, which calls `release` when its work has ended.
   *
   * @throws ServiceFailure OVERLOADED; SightlineError those of `Model.shuffled`
   */
  async hold(of: Model, signal: AbortSignal): Promise<{ readonly copy: Model; readonly release: () => void }> {
    const kept = this.kept.get(of) ?? this.begin(of);
    kept.users++;
    if (kept.timer !== null) clearTimeout(kept.timer);
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      if (--kept.users > 0) return;
      // A service that nobody asks any more may end.
      kept.timer = setTimeout(() => this.drop(of), IDLE).unref();
    };
    try {
      return { copy: await untilAborted(kept.copy, signal), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Once no request holds one. */
  async close(): Promise<void> {
    for (const of of this.kept.keys()) this.drop(of);
    await Promise.all(this.closing);
  }

  private begin(of: Model): Kept {
    if (this.kept.size >= MOST) {
      const unused = [...this.kept].find(([, { users }]) => users === 0);
      if (unused === undefined) {
        throw new ServiceFailure('OVERLOADED', `${MOST} models with shuffled weights are in use; try again later.`);
      }
      this.drop(unused[0]);
    }
    const kept: Kept = { copy: of.shuffled(), users: 0, timer: null };
    this.kept.set(of, kept);
    // What could not be loaded is tried again by the next request.
    kept.copy.catch(() => this.kept.delete(of));
    return kept;
  }

  private drop(of: Model): void {
    const { copy, timer } = this.kept.get(of)!;
    this.kept.delete(of);
    if (timer !== null) clearTimeout(timer);
    const closed = copy.then(
      (model) => model.close(),
      () => undefined,
    );
    this.closing.add(closed);
    void closed.finally(() => this.closing.delete(closed));
  }
}
