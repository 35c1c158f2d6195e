import { SightlineError } from '../support/errors.js';

/** Counts work that goes on, so that what it needs is not taken away before its end. */
export class InFlight {
  private readonly end = new AbortController();
  private count = 0;
  private idle: (() => void) | null = null;

  /** Aborted when the work in flight is to end. */
  get signal(): AbortSignal {
    return this.end.signal;
  }

  /** Ends all of it: it fails with ABORTED, whose cause is MODEL_CLOSED. */
  abort(sentence: string): void {
    this.end.abort(new SightlineError('MODEL_CLOSED', sentence));
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.count++;
    try {
      return await work();
    } finally {
      if (--this.count === 0) this.idle?.();
    }
  }

  /** Waits for the end of all of it; for one caller. */
  async ended(): Promise<void> {
    if (this.count > 0) await new Promise<void>((resolve) => (this.idle = resolve));
  }
}
