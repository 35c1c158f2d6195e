import { SightlineError } from '../support/errors.js';

/**
 * Images that this thread's calls decode, by the devices that they are meant for: they will ask for a place in the
 * queue.
 */
const promised = new Map<string, number>();

/** The queue of a pool's devices, seen before anything is decoded for it. */
export interface Queue {
  /** Names of the devices. */
  readonly device: string;
  /** Images that wait there now. */
  readonly waiting: () => number;
  /** How many may. */
  readonly limit: number;
}

/** @returns a function that gives the places up, which may be called twice; null where there is no room. */
export function takePlaces({ device, waiting, limit }: Queue, count: number): (() => void) | null {
  const before = promised.get(device) ?? 0;
  if (waiting() + before + count > limit) return null;
  promised.set(device, before + count);
  let isTaken = true;
  return () => {
    if (!isTaken) return;
    isTaken = false;
    const left = promised.get(device)! - count;
    if (left > 0) promised.set(device, left);
    else promised.delete(device);
  };
}

export function queueFull({ device, waiting, limit }: Queue, cause?: unknown): SightlineError {
  const count = waiting() + (promised.get(device) ?? 0);
  return new SightlineError(
    'QUEUE_FULL',
    `${count} images wait already, of ${limit} that may; send fewer at once, or raise maxQueue.`,
    { cause, details: { waiting: count, maxQueue: limit } },
  );
}
