import { SightlineError } from '../support/errors.js';
import { shown } from '../support/cut.js';
import { binding } from './binding.js';

const MOST_THREADS = 1024;

/**
 * How many threads LibTorch computes on: one value for the whole process, for all its models and worker threads. It is
 * what `sharp.concurrency()` is to sharp. GPUs do not use them.
 *
 * @returns a whole number, at least 1; by default `OMP_NUM_THREADS`, else as many as there are cores, or as a
 * container's CPU limit allows, rounded up
 * @throws SightlineError NATIVE_MISSING
 */
export function getThreads(): number {
  return binding().versions().threads;
}

/**
 * Sets how many threads LibTorch computes on, for the whole process. It takes effect from the next batch on, also for
 * models that are loaded already. Images are decoded by sharp, on threads of its own.
 *
 * @param count a whole number from 1 to 1024
 * @throws SightlineError INVALID_OPTION, NATIVE_MISSING
 */
export function setThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > MOST_THREADS) {
    throw new SightlineError(
      'INVALID_OPTION',
      `setThreads got ${shown(count)}; give a whole number from 1 to ${MOST_THREADS}.`,
    );
  }
  binding().setThreads(count);
}
