/** Counts work that goes on, so that what it needs is not taken away before its end. */
export class InFlight {
  private count = 0;
  private idle: (() => void) | null = null;

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
