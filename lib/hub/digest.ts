import { createHash, type Hash } from 'node:crypto';

/** The hash that a blob is named by: SHA-256 of its bytes, or (40 digits) git's SHA-1, which counts the length in. */
export function digestFor(blob: string, size: number): Hash {
  return blob.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}
