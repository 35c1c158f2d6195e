import { statfs as nodeStatfs } from 'node:fs/promises';
import { megabytes } from './progress.mjs';
import { SetupError } from '../lib/setup/setup-error.mjs';

/**
 * @typedef {(folder: string) => Promise<{ bavail: number, bsize: number }>} Statfs
 */

/**
 * Refuses in one sentence, before anything is written, where a folder's disk has too little room.
 * @param {string} folder must exist
 * @param {number} bytes
 * @param {Statfs} [statfs]
 */
export async function requireDiskSpace(folder, bytes, statfs = nodeStatfs) {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < bytes) {
    throw new SetupError(
      `${folder} has ${megabytes(free)} free and LibTorch needs ${megabytes(bytes)} there: free some space, or set SIGHTLINE_CACHE to a folder on a larger disk.`,
    );
  }
}
