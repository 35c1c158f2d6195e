import type { FileHandle } from 'node:fs/promises';

import { cut } from './cut.js';
import { SightlineError } from './errors.js';

/** Whether the system says that there is nothing of that name. */
export function isMissing(cause: unknown): boolean {
  const { code } = (cause ?? {}) as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/**
 * Why a file cannot be read, as a sentence for people.
 *
 * @param subject the file, as messages name it
 * @param hint what to give in its place where there is none
 */
export function unreadable(subject: string, cause: unknown, hint?: string): SightlineError {
  const { code } = (cause ?? {}) as NodeJS.ErrnoException;
  if (isMissing(cause)) {
    return new SightlineError(
      'FILE_NOT_FOUND',
      `There is no file ${subject}${hint === undefined ? '' : `; ${hint}`}.`,
      { cause },
    );
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new SightlineError('FILE_NOT_FOUND', `${subject} may not be read by this user; change its permissions.`, {
      cause,
    });
  }
  if (code === 'ENAMETOOLONG') {
    return new SightlineError('FILE_NOT_FOUND', `There is no file ${subject}: no file has so long a name.`, { cause });
  }
  return new SightlineError('FILE_NOT_FOUND', `${subject} cannot be read: ${cut(firstLine(cause))}.`, { cause });
}

/** Of an error's message, without what ends its sentence. */
export function firstLine(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return (message.split('\n', 1)[0] ?? '').replace(/[.:\s]+$/, '');
}

/**
 * Exactly `length` bytes from `position`; null where the file ends before.
 *
 * @param into where they go; default fresh memory
 */
export async function readAt(
  handle: FileHandle,
  position: number,
  length: number,
  into: Buffer = Buffer.allocUnsafe(length),
): Promise<Buffer | null> {
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(into, done, length - done, position + done);
    if (bytesRead === 0) return null;
    done += bytesRead;
  }
  return into.subarray(0, length);
}
