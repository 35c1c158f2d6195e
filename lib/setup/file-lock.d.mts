/** A lock that is held. */
export interface HeldLock {
  /**
   * Whether it is still ours. A process that was stopped for longer than the others were willing to wait has lost it,
   * and must write no more.
   */
  isOurs(): Promise<boolean>;
  release(): Promise<void>;
}

export interface LockOptions {
  /** Aborts the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called once, when another one holds it: with its process number, null where that means nothing here. */
  readonly onWait?: ((pid: number | null) => void) | undefined;
  /** Milliseconds without a sign of life after which a holder is taken for dead, wherever it runs. Default 30,000. */
  readonly staleMs?: number | undefined;
}

/**
 * Waits until no other process, in whatever container on whatever machine that shares the folder, holds the lock file.
 *
 * It is a file that says who holds it and whose time stamp the holder renews. The lock of a process that was killed is
 * taken over: at once where the process can be looked up, else after half a minute without a sign. Taking over renames
 * the file first and looks at what it took, so that of two who find the same dead holder only one gets the lock.
 */
export function acquireLock(file: string, options?: LockOptions): Promise<HeldLock>;

/** Where a process number means a process: the machine since it was started, and the namespace of numbers. */
export function ownPlace(): string;
