import type { FileHandle } from 'node:fs/promises';
import { crc32, inflateRawSync } from 'node:zlib';

import { readAt } from '../support/files.js';
import type { Member } from './directory.js';
import { damaged } from './refusal.js';
import type { WindowedFile } from './windowed-file.js';

const CHUNK = 1 << 20;

/**
 * A member's bytes, unpacked and checked against size and checksum.
 *
 * @param member whose size has been checked to be bearable: it is read whole
 * @throws SightlineError UNTRUSTED_ARCHIVE
 */
export async function readMember(file: WindowedFile, member: Member, archive: string): Promise<Buffer> {
  const packed = await file.at(member.dataOffset, member.packedSize);
  if (packed === null) throw damaged({ archive, member: member.name, what: 'lies beyond the end of the file' });
  const bytes = member.method === 0 ? packed : inflate(packed, member, archive);
  if (crc32(bytes) !== member.crc32) throw wrongChecksum(archive, member);
  return bytes;
}

/**
 * Checks stored members against their checksums, in the order of the file, without holding more than two pieces of
 * them.
 *
 * @throws SightlineError UNTRUSTED_ARCHIVE that names the first that differs
 */
export async function verifyStored(handle: FileHandle, members: readonly Member[], archive: string): Promise<void> {
  const buffers = [Buffer.allocUnsafe(CHUNK), Buffer.allocUnsafe(CHUNK)];
  const pieces = members.flatMap((member) => {
    const ends = Math.max(1, Math.ceil(member.size / CHUNK));
    return Array.from({ length: ends }, (_, i) => ({
      member,
      begin: i * CHUNK,
      length: Math.min(CHUNK, member.size - i * CHUNK),
      isLast: i === ends - 1,
    }));
  });
  const read = (i: number): Promise<Buffer | null> | null => {
    const piece = pieces[i];
    return piece === undefined
      ? null
      : readAt(handle, piece.member.dataOffset + piece.begin, piece.length, buffers[i % 2]);
  };
  let sum = 0;
  let coming = read(0);
  for (const [i, { member, isLast }] of pieces.entries()) {
    const bytes = await coming;
    // The next piece comes in while this one is summed.
    coming = read(i + 1);
    coming?.catch(() => undefined);
    if (bytes === null) throw damaged({ archive, member: member.name, what: 'lies beyond the end of the file' });
    sum = crc32(bytes, sum);
    if (!isLast) continue;
    if (sum !== member.crc32) {
      await coming;
      throw wrongChecksum(archive, member);
    }
    sum = 0;
  }
}

function inflate(packed: Buffer, member: Member, archive: string): Buffer {
  try {
    // With `info` the engine tells how much it took: bytes after the end of the stream are not data of the member.
    const { buffer, engine } = inflateRawSync(packed, {
      maxOutputLength: Math.max(1, member.size),
      info: true,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    if (buffer.length === member.size && engine.bytesWritten === packed.length) return buffer;
  } catch {
    // Told below in the words of a user.
  }
  throw damaged({ archive, member: member.name, what: 'does not unpack to the size that it gives' });
}

function wrongChecksum(archive: string, member: Member): Error {
  return damaged({ archive, member: member.name, what: 'differs from its checksum' });
}
