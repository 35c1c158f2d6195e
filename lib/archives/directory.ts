import type { WindowedFile } from './windowed-file.js';
import { damaged, notTorchScript } from './refusal.js';

/** A member of a zip archive, as its directory tells and its own header confirms. */
export interface Member {
  readonly name: string;
  /** 0: stored as it is; 8: deflated. */
  readonly method: 0 | 8;
  readonly crc32: number;
  /** Bytes in the file, and unpacked. */
  readonly packedSize: number;
  readonly size: number;
  /** Of its header. */
  readonly offset: number;
  /** Of its first byte. */
  readonly dataOffset: number;
}

const END = 22;
const LOCATOR = 20;
const ZIP64_END = 56;
const CENTRAL = 46;
const LOCAL = 30;

/** Far more than any model has; each costs a read. */
const MOST_MEMBERS = 100_000;
const LARGEST_DIRECTORY = 64 * 2 ** 20;

const HAS_DESCRIPTOR = 1 << 3;
const IS_UTF8 = 1 << 11;
/** Bits 1 and 2 say how hard the packer tried. */
const KNOWN_FLAGS = HAS_DESCRIPTOR | IS_UTF8 | (1 << 1) | (1 << 2);

const strict = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads the directory of a zip archive, and checks it against the header of every member.
 *
 * LibTorch reads archives with a reader of its own (miniz), which finds the directory in another way, ignores parts of
 * the headers and believes the rest. So whatever two readers could take for different things is refused, and what is
 * left means the same to all: one directory that ends where the file ends, no comment, no second name for the same
 * bytes.
 *
 * @returns the members in the directory's order; their data do not overlap, and lie in front of the directory
 * @throws SightlineError NOT_TORCHSCRIPT for what is no archive, UNTRUSTED_ARCHIVE for a damaged one
 */
export async function readDirectory(
  file: WindowedFile,
  size: number,
  archive: string,
  options: DirectoryOptions = {},
): Promise<Member[]> {
  const refuse = (what: string, member?: string) => damaged({ archive, what, ...(member !== undefined && { member }) });
  const noArchive = () =>
    notTorchScript(
      archive,
      'it is no archive, or a truncated one; export the model with torch.jit.trace(...).save(...), or copy it again',
    );
  if (size < END + CENTRAL + LOCAL) throw noArchive();
  const tailSize = Math.min(size, ZIP64_END + LOCATOR + END);
  const head = await file.at(0, 4);
  const tail = await file.at(size - tailSize, tailSize);
  if (head === null || tail === null) throw refuse('changed while it was read');
  const end = tail.subarray(tailSize - END);
  if (head.readUInt32LE(0) !== 0x04034b50 || end.readUInt32LE(0) !== 0x06054b50) throw noArchive();
  if (end.readUInt16LE(4) !== 0 || end.readUInt16LE(6) !== 0) throw refuse('says that it has several volumes');
  if (end.readUInt16LE(20) !== 0) throw refuse('has a comment');

  let count = end.readUInt16LE(10);
  let directorySize = end.readUInt32LE(12);
  let directoryOffset = end.readUInt32LE(16);
  let directoryEnd = size - END;
  if (end.readUInt16LE(8) !== count) throw refuse('says two things about the number of its members');
  if (tailSize === ZIP64_END + LOCATOR + END && tail.readUInt32LE(ZIP64_END) === 0x07064b50) {
    const locator = tail.subarray(ZIP64_END, ZIP64_END + LOCATOR);
    directoryEnd = size - tailSize;
    if (
      tail.readUInt32LE(0) !== 0x06064b50 ||
      number64(locator, 8) !== directoryEnd ||
      number64(tail, 4) !== ZIP64_END - 12
    ) {
      throw refuse('has a broken zip64 directory');
    }
    if (
      locator.readUInt32LE(4) !== 0 ||
      locator.readUInt32LE(16) !== 1 ||
      tail.readUInt32LE(16) !== 0 ||
      tail.readUInt32LE(20) !== 0
    ) {
      throw refuse('says that it has several volumes');
    }
    const count64 = number64(tail, 32);
    const size64 = number64(tail, 40);
    const offset64 = number64(tail, 48);
    const agree = (short: number, full: number, none: number) => short === full || short === none;
    if (
      number64(tail, 24) !== count64 ||
      !agree(count, count64, 0xffff) ||
      !agree(directorySize, size64, 0xffffffff) ||
      !agree(directoryOffset, offset64, 0xffffffff)
    ) {
      throw refuse('has a zip64 directory that contradicts its plain one');
    }
    [count, directorySize, directoryOffset] = [count64, size64, offset64];
  }
  if (directoryOffset + directorySize !== directoryEnd) {
    throw refuse('has a directory that does not lie where the file says');
  }
  if (count === 0) throw refuse('has no members');
  if (count > MOST_MEMBERS || directorySize > LARGEST_DIRECTORY) {
    throw refuse(`has ${count} members in a directory of ${directorySize} bytes, more than any model`);
  }
  const directory = await file.at(directoryOffset, directorySize);
  if (directory === null) throw refuse('changed while it was read');

  const entries = parseEntries(directory, count, refuse, options.allowsTop ?? false);
  const members: Member[] = [];
  for (const entry of entries
    .map((entry, place) => ({ entry, place }))
    .sort((a, b) => a.entry.offset - b.entry.offset)) {
    members[entry.place] = await confirm(entry.entry, file, directoryOffset, refuse);
  }
  checkPlaces(members, refuse);
  return members;
}

/** What is allowed beside the common. */
export interface DirectoryOptions {
  /** Members that lie in no folder. Default false. */
  readonly allowsTop?: boolean;
}

interface Entry extends Omit<Member, 'dataOffset'> {
  readonly rawName: Buffer;
  readonly flags: number;
}

type Refuse = (what: string, member?: string) => Error;

function parseEntries(directory: Buffer, count: number, refuse: Refuse, allowsTop: boolean): Entry[] {
  const entries: Entry[] = [];
  const seen = new Set<string>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL > directory.length || directory.readUInt32LE(at) !== 0x02014b50) {
      throw refuse(`has a broken directory at member ${i + 1} of ${count}`);
    }
    const flags = directory.readUInt16LE(at + 8);
    const method = directory.readUInt16LE(at + 10);
    const [nameLength, extraLength, commentLength] = [
      directory.readUInt16LE(at + 28),
      directory.readUInt16LE(at + 30),
      directory.readUInt16LE(at + 32),
    ];
    const next = at + CENTRAL + nameLength + extraLength + commentLength;
    if (next > directory.length) throw refuse(`has a broken directory at member ${i + 1} of ${count}`);
    const rawName = directory.subarray(at + CENTRAL, at + CENTRAL + nameLength);
    const name = readName(rawName, refuse, allowsTop);
    const extra = directory.subarray(at + CENTRAL + nameLength, next - commentLength);
    const [size, packedSize, offset] = readSizes(
      extra,
      [directory.readUInt32LE(at + 24), directory.readUInt32LE(at + 20), directory.readUInt32LE(at + 42)],
      () => refuse('has a broken zip64 field', name),
    ) as [number, number, number];
    if (commentLength !== 0) throw refuse('has a comment', name);
    if (directory.readUInt16LE(at + 34) !== 0) throw refuse('says that it lies in another volume', name);
    if ((flags & 1) !== 0) throw refuse('is encrypted', name);
    if ((flags & ~KNOWN_FLAGS) !== 0) throw refuse('is packed in an unusual way', name);
    if (method !== 0 && method !== 8) throw refuse(`is packed by method ${method}, which LibTorch does not read`, name);
    if (method === 0 && packedSize !== size) {
      throw refuse(`is stored, but says that its ${packedSize} bytes unpack to ${size}`, name);
    }
    // LibTorch finds members without regard to case.
    const folded = name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    if (seen.has(folded)) throw refuse('is there twice', name);
    seen.add(folded);
    entries.push({ name, rawName, flags, method, crc32: directory.readUInt32LE(at + 16), packedSize, size, offset });
    at = next;
  }
  if (at !== directory.length) throw refuse('has bytes after the last entry of its directory');
  return entries;
}

function readName(raw: Buffer, refuse: Refuse, allowsTop: boolean): string {
  let name: string;
  try {
    name = strict.decode(raw);
  } catch {
    throw refuse('is named in something else than UTF-8', raw.toString('latin1'));
  }
  if (/[\u0000-\u001f\u007f]/.test(name)) throw refuse('has control characters in its name', name);
  if (name.startsWith('/') || /^[A-Za-z]:/.test(name)) throw refuse('has an absolute path', name);
  if (name.includes('\\')) throw refuse('has a backslash in its path', name);
  const parts = name.split('/');
  if (parts.some((part) => part === '..' || part === '.')) throw refuse('has a path that leaves its folder', name);
  if ((parts.length < 2 && !allowsTop) || parts.some((part) => part === '')) {
    throw refuse('has a path that is not a file in a folder', name);
  }
  return name;
}

/** Sizes and offset of an entry; those that are all ones stand in its zip64 field, in this order. */
function readSizes(extra: Buffer, short: readonly number[], broken: () => Error): number[] {
  const missing = short.filter((value) => value === 0xffffffff).length;
  let field: Buffer | null = null;
  for (let at = 0; at < extra.length;) {
    if (at + 4 > extra.length) throw broken();
    const length = extra.readUInt16LE(at + 2);
    if (at + 4 + length > extra.length) throw broken();
    if (extra.readUInt16LE(at) === 1) {
      if (field !== null) throw broken();
      field = extra.subarray(at + 4, at + 4 + length);
    }
    at += 4 + length;
  }
  if (missing === 0) return [...short];
  if (field === null || field.length < 8 * missing) throw broken();
  let next = 0;
  return short.map((value) => {
    if (value !== 0xffffffff) return value;
    const full = number64(field, 8 * next++);
    if (!Number.isSafeInteger(full)) throw broken();
    return full;
  });
}

/** Reads the header in front of a member's data, which must say what the directory says. */
async function confirm(entry: Entry, file: WindowedFile, directoryOffset: number, refuse: Refuse): Promise<Member> {
  const { rawName, flags, ...read } = entry;
  const { name, offset, packedSize } = read;
  if (offset + LOCAL + rawName.length + packedSize > directoryOffset) {
    throw refuse('lies beyond the end of the file', name);
  }
  const header = await file.at(offset, LOCAL + rawName.length);
  if (header === null) throw refuse('lies beyond the end of the file', name);
  if (header.readUInt32LE(0) !== 0x04034b50) throw refuse('does not lie where the directory says', name);
  if (!header.subarray(LOCAL).equals(rawName) || header.readUInt16LE(26) !== rawName.length) {
    throw refuse('has another name in its own header', name);
  }
  if (header.readUInt16LE(6) !== flags || header.readUInt16LE(8) !== entry.method) {
    throw refuse('is packed in another way by its own header', name);
  }
  const extraLength = header.readUInt16LE(28);
  const dataOffset = offset + LOCAL + rawName.length + extraLength;
  if (dataOffset + packedSize > directoryOffset) throw refuse('lies beyond the end of the file', name);
  // A header that was written before its data may leave to the directory what was not known then.
  const isLate = (flags & HAS_DESCRIPTOR) !== 0;
  const agrees = (value: number, expected: number) => value === expected || (isLate && value === 0);
  const [crc, packed, full] = [header.readUInt32LE(14), header.readUInt32LE(18), header.readUInt32LE(22)];
  let sizes = [full, packed];
  if (sizes.includes(0xffffffff)) {
    const extra = await file.at(dataOffset - extraLength, extraLength);
    if (extra === null) throw refuse('lies beyond the end of the file', name);
    sizes = readSizes(extra, sizes, () => refuse('has a broken zip64 field', name));
  }
  if (!agrees(crc, entry.crc32) || !agrees(sizes[0]!, entry.size) || !agrees(sizes[1]!, packedSize)) {
    throw refuse('has another size or checksum in its own header', name);
  }
  return { ...read, dataOffset };
}

function checkPlaces(members: readonly Member[], refuse: Refuse): void {
  const sorted = [...members].sort((a, b) => a.offset - b.offset);
  if (sorted[0]!.offset !== 0) throw refuse('begins with something else than its first member');
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1]!;
    if (sorted[i]!.offset < before.dataOffset + before.packedSize) {
      throw refuse(`overlaps ${before.name}`, sorted[i]!.name);
    }
  }
}

/** Above 2^53 it loses digits, and then is larger than any file. */
function number64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}
