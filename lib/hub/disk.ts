import { statfs } from 'node:fs/promises';

import { SightlineError } from '../errors.js';

/** A disk that is full shows at whichever write comes first: of a lock, a folder, a link, the bytes themselves. */
export async function noticingFullDisk<T>(cache: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException | null)?.code;
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
    throw diskFull(cache, code === 'EDQUOT' ? 'your quota is used up' : 'nothing more could be written', error);
  }
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
  return new SightlineError('DISK_FULL', `There is no room left in ${cache} (${how}): free some space, or set HF_HUB_CACHE to a folder on a larger disk; what has arrived is kept.`, { cause });
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
