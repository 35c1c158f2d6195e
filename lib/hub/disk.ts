import { statfs } from 'node:fs/promises';

import { SightlineError } from '../support/errors.js';

/** What the system says of a folder that is no folder, or is not ours to write to. */
const NOT_OURS = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'ELOOP', 'ENAMETOOLONG'];

/**
 * What stopped work on the cache, as a sentence: a disk that is full shows at whichever write comes first, of a lock, a
 * folder, a link or the bytes themselves. Other errors are returned as they are.
 */
export function explainDiskError(cache: string, error: unknown): unknown {
  const { code, path, message } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return diskFull(cache, code === 'EDQUOT' ? 'your quota is used up' : 'nothing more could be written', error);
  }
  if (code !== undefined && NOT_OURS.includes(code) && path?.startsWith(cache) === true) {
    return new SightlineError(
      'CACHE_NOT_WRITABLE',
      `The cache ${cache} cannot be written (${message}): correct its permissions, or set HF_HUB_CACHE to a folder of your own.`,
      { cause: error },
    );
  }
  return error;
}

/**
 * Refuses before anything is written where a folder's disk has too little room.
 *
 * @param bytes that will be written
 * @throws SightlineError DISK_FULL
 */
export async function requireSpace(cache: string, folder: string, file: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < bytes) throw diskFull(cache, `${file} needs ${megabytes(bytes)} there, and ${megabytes(free)} are free`);
}

function diskFull(cache: string, how: string, cause?: unknown): SightlineError {
  return new SightlineError(
    'DISK_FULL',
    `There is no room left in ${cache} (${how}): free some space, or set HF_HUB_CACHE to a folder on a larger disk; all that has arrived is kept.`,
    { cause },
  );
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
