import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';

import { SightlineError } from '../support/errors.js';
import { readAt, unreadable } from '../support/files.js';

/**
 * What a file of a model is, by its first and last bytes: `checkpoint` for the zip form of torch.save, `pickle` and
 * `tar` for its older forms, `program` for what torch.export writes, `other` for TorchScript archives and all else,
 * whose reader says what is wrong.
 */
export type SavedForm = 'checkpoint' | 'pickle' | 'tar' | 'program' | 'other';

const END = 22;
const LOCATOR = 20;
const ZIP64_END = 56;
const LARGEST_DIRECTORY = 64 * 2 ** 20;
/** The number that torch.save wrote first until release 1.6, as a pickle of protocol 2. */
const PICKLED_MAGIC = Buffer.from('80028a0a6cfc9c46f9206aa85019', 'hex');
const TAR_MAGIC = { at: 257, text: 'ustar' } as const;

/**
 * Looks which reader a file is for. It believes nothing: that reader checks the whole.
 *
 * @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE
 */
export async function savedFormOf(path: string): Promise<SavedForm> {
  const handle = await openRegular(path);
  try {
    const { size } = await handle.stat();
    const head = (await readAt(handle, 0, Math.min(size, TAR_MAGIC.at + TAR_MAGIC.text.length))) ?? Buffer.alloc(0);
    if (head.subarray(0, PICKLED_MAGIC.length).equals(PICKLED_MAGIC)) return 'pickle';
    // Protocols 2 to 5 of a pickle that something else wrote.
    if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) return 'pickle';
    if (head.subarray(TAR_MAGIC.at).toString('latin1') === TAR_MAGIC.text) return 'tar';
    if (head.length < 4 || head.readUInt32LE(0) !== 0x04034b50) return 'other';
    const directory = await directoryText(handle, size);
    const has = (name: string): boolean => directory.includes(name);
    if (has('/archive_format') || has('serialized_exported_program.json')) return 'program';
    return has('/data.pkl') && !has('/constants.pkl') && !has('/code/') ? 'checkpoint' : 'other';
  } finally {
    await handle.close();
  }
}

/**
 * A regular file, opened for reading: not a pipe that would wait for a writer for ever.
 *
 * @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE
 */
export async function openRegular(path: string): Promise<FileHandle> {
  let handle: FileHandle | undefined;
  try {
    // Looked at before it is opened, since opening a device may have effects.
    if ((await stat(path)).isFile()) {
      handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
      if ((await handle.stat()).isFile()) return handle;
    }
  } catch (cause) {
    await handle?.close();
    throw unreadable(path, cause, 'give the path of a checkpoint');
  }
  await handle?.close();
  throw new SightlineError('NOT_A_FILE', `${path} is not a regular file; give the path of a checkpoint.`);
}

/** The bytes of a zip archive's directory; empty where it has none. */
async function directoryText(handle: FileHandle, size: number): Promise<Buffer> {
  const none = Buffer.alloc(0);
  const tailSize = Math.min(size, ZIP64_END + LOCATOR + END);
  const tail = await readAt(handle, size - tailSize, tailSize);
  if (tail === null || tailSize < END) return none;
  const end = tail.subarray(tailSize - END);
  if (end.readUInt32LE(0) !== 0x06054b50) return none;
  let [length, offset] = [end.readUInt32LE(12), end.readUInt32LE(16)];
  if (tailSize === ZIP64_END + LOCATOR + END && tail.readUInt32LE(0) === 0x06064b50) {
    [length, offset] = [Number(tail.readBigUInt64LE(40)), Number(tail.readBigUInt64LE(48))];
  }
  if (length > LARGEST_DIRECTORY || offset + length > size) return none;
  return (await readAt(handle, offset, length)) ?? none;
}
