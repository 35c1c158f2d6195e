import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';

import { SightlineError } from '../support/errors.js';
import { readAt, unreadable } from '../support/files.js';
import type { TensorPart } from '../engine/weight-plan.js';
import { duplicateKey, isObject } from '../support/json.js';

/** Of the header, as in the format's own reader. */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;

/** Bytes of one number. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
  C64: 8,
};

/**
 * What a safetensors file holds and where: only its header is read, and nothing of it is believed. Offsets count from
 * the file's start.
 *
 * @param fileIndex what `file` of every part is to be
 * @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE, INVALID_WEIGHTS in one sentence that names the file and the tensor
 */
export async function readHeader(path: string, fileIndex: number): Promise<Map<string, TensorPart>> {
  const file = await openRegular(path);
  try {
    const { size } = await file.stat();
    const { text, end } = await readText(file, size, path);
    return parseHeader(text, end, size, path, fileIndex);
  } finally {
    await file.close();
  }
}

async function openRegular(path: string): Promise<FileHandle> {
  let file: FileHandle | undefined;
  try {
    // Looked at before it is opened, since opening a device may have effects; and O_NONBLOCK, since a pipe that
    // takes its place in between would wait for a writer for ever.
    if (!(await stat(path)).isFile()) throw notRegular(path);
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    if (!(await file.stat()).isFile()) throw notRegular(path);
    return file;
  } catch (cause) {
    await file?.close();
    if (cause instanceof SightlineError) throw cause;
    throw unreadable(path, cause, 'give the path of a safetensors checkpoint');
  }
}

function notRegular(path: string): SightlineError {
  return new SightlineError('NOT_A_FILE', `${path} is not a regular file; give the path of a safetensors checkpoint.`);
}

async function readText(file: FileHandle, size: number, path: string): Promise<{ text: string; end: number }> {
  if (size < LENGTH_BYTES) {
    throw invalid(path, `it has ${size} bytes, and the length of the header alone takes ${LENGTH_BYTES}`);
  }
  const announced = (await readExactly(file, 0, LENGTH_BYTES, path)).readBigUInt64LE();
  // Before anything of that length is made room for.
  if (announced > BigInt(MAX_HEADER_BYTES)) {
    throw invalid(path, `its header is said to take ${announced} bytes, and ${MAX_HEADER_BYTES} is the most`);
  }
  const length = Number(announced);
  if (length > size - LENGTH_BYTES) {
    throw invalid(path, `its header is said to take ${length} bytes, and the file has ${size}; it may be cut off`);
  }
  const bytes = await readExactly(file, LENGTH_BYTES, length, path);
  if (bytes[0] !== 0x7b) throw invalid(path, 'its header does not begin with "{"');
  try {
    return {
      text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
      end: LENGTH_BYTES + length,
    };
  } catch (cause) {
    throw invalid(path, 'its header is not UTF-8', cause);
  }
}

async function readExactly(file: FileHandle, position: number, length: number, path: string): Promise<Buffer> {
  let bytes: Buffer | null;
  try {
    bytes = await readAt(file, position, length);
  } catch (cause) {
    throw invalid(path, `it cannot be read: ${(cause as Error).message}`, cause);
  }
  if (bytes === null) throw invalid(path, 'it became shorter while it was read');
  return bytes;
}

function parseHeader(
  text: string,
  dataStart: number,
  fileSize: number,
  path: string,
  file: number,
): Map<string, TensorPart> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (cause) {
    throw invalid(path, 'its header is not JSON', cause);
  }
  if (!isObject(header)) throw invalid(path, 'its header is not a JSON object');
  const twice = duplicateKey(text);
  if (twice !== null) throw invalid(path, `its header has ${shown(twice)} twice`);

  const tensors = new Map<string, TensorPart>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (!isObject(entry) || !Object.values(entry).every((value) => typeof value === 'string')) {
        throw invalid(path, 'its metadata are not texts by name');
      }
      continue;
    }
    tensors.set(name, parseEntry(name, entry, dataStart, fileSize, path, file));
  }
  checkCoverage(tensors, dataStart, fileSize, path);
  return tensors;
}

function parseEntry(
  name: string,
  entry: unknown,
  dataStart: number,
  fileSize: number,
  path: string,
  file: number,
): TensorPart {
  const refuse = (what: string): SightlineError => invalid(path, `${shown(name)} ${what}`);
  if (!isObject(entry)) throw refuse('is described by no object');
  const { dtype, shape, data_offsets: offsets, ...others } = entry;
  const surplus = Object.keys(others)[0];
  if (surplus !== undefined) throw refuse(`has a field ${shown(surplus)} that the format does not know`);
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    throw refuse(`has the unknown dtype ${shown(dtype)}`);
  }
  if (!isLengths(shape)) throw refuse(`has the shape ${shown(shape)}, which is not a list of whole numbers from 0`);
  if (!isLengths(offsets) || offsets.length !== 2) {
    throw refuse(`has the offsets ${shown(offsets)}, which are not two whole numbers from 0`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw refuse(`ends at ${end}, before it begins at ${begin}`);
  const bytes = byteLength(shape, DTYPE_BYTES[dtype]!);
  if (bytes === null) throw refuse(`has the shape ${shown(shape)}, which is too large for any file`);
  if (bytes !== end - begin) {
    throw refuse(`takes ${end - begin} bytes, and its shape ${shown(shape)} in ${dtype} takes ${bytes}`);
  }
  if (end > fileSize - dataStart) {
    throw refuse(`ends at byte ${end} of the data, which has ${fileSize - dataStart}; the file may be cut off`);
  }
  return { file, begin: dataStart + begin, end: dataStart + end, dtype, shape };
}

/** Of so many numbers; null where it is not a whole number that a double holds exactly. */
function byteLength(shape: readonly number[], each: number): number | null {
  if (shape.includes(0)) return 0;
  let bytes = each;
  for (const length of shape) {
    bytes *= length;
    if (!Number.isSafeInteger(bytes)) return null;
  }
  return bytes;
}

/** The format wants every byte of the data to belong to exactly one tensor, so that nothing can be hidden in a file. */
function checkCoverage(
  tensors: ReadonlyMap<string, TensorPart>,
  dataStart: number,
  fileSize: number,
  path: string,
): void {
  const sorted = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let reached = dataStart;
  let before = '';
  for (const [name, { begin, end }] of sorted) {
    if (begin < reached) throw invalid(path, `${shown(name)} overlaps ${shown(before)}`);
    if (begin > reached) throw invalid(path, `${begin - reached} bytes before ${shown(name)} belong to no tensor`);
    reached = end;
    before = name;
  }
  if (reached !== fileSize) throw invalid(path, `${fileSize - reached} bytes at its end belong to no tensor`);
}

function isLengths(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((each) => Number.isSafeInteger(each) && (each as number) >= 0);
}

/** As JSON, and not longer than fits into a sentence: names come from the file. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

function invalid(path: string, what: string, cause?: unknown): SightlineError {
  return new SightlineError('INVALID_WEIGHTS', `${path} is no sound safetensors file: ${what}.`, {
    cause,
    details: { path },
  });
}
