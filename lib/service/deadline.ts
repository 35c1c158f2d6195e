import type { Call } from './call.js';
import { ServiceFailure } from './failure.js';

/**
 * The milliseconds that a request has: fewer than `most` where its header asks for it.
 *
 * @throws ServiceFailure INVALID_REQUEST
 */
export function deadlineOf({ header: read }: Call, most: number): number {
  const header = read('x-deadline-ms');
  if (header === null) return most;
  if (!/^[1-9]\d{0,8}$/.test(header)) {
    throw new ServiceFailure('INVALID_REQUEST', 'The header x-deadline-ms is a whole number of milliseconds from 1.');
  }
  return Math.min(most, Number(header));
}
