import type { FileHandle } from 'node:fs/promises';

/**
 * Exactly `length` bytes from `position`; null where the file ends before.
 *
 * @param into where they go; default fresh memory
 */
export async function readAt(handle: FileHandle, position: number, length: number, into: Buffer = Buffer.allocUnsafe(length)): Promise<Buffer | null> {
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(into, done, length - done, position + done);
    if (bytesRead === 0) return null;
    done += bytesRead;
  }
  return into.subarray(0, length);
}
