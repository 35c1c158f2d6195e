import { SightlineError } from './errors.js';
import { shown } from './cut.js';

/** The element types that sightline reads and writes, by numpy's names. */
export type NpyDtype = 'float32' | 'float64' | 'int32' | 'int64' | 'uint8';

/** The typed array that holds each element type. */
export interface NpyData {
  float32: Float32Array;
  float64: Float64Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
}

/**
 * A dense array: `data` in row-major (C) order, as many elements as the product of `shape` (`[]` is a single number).
 */
export type NpyArray = {
  [D in NpyDtype]: { readonly dtype: D; readonly data: NpyData[D]; readonly shape: readonly number[] };
}[NpyDtype];

const DESCRIPTORS: Record<string, NpyDtype> = {
  '<f4': 'float32',
  '<f8': 'float64',
  '<i4': 'int32',
  '<i8': 'int64',
  '|u1': 'uint8',
};
// Typed arrays have the machine's byte order, and LibTorch runs on little-endian machines only, so bytes are never
// swapped.
const MAGIC = Buffer.from('\x93NUMPY', 'latin1');

/**
 * Writes a numpy `.npy` file (format 1.0, or 2.0 where the header is longer than 65,535 bytes), C order.
 *
 * @throws SightlineError INVALID_INPUT when the data are of another type, or the shape does not match the number of
 * elements.
 */
export function encodeNpy(array: { readonly data: NpyData[NpyDtype]; readonly shape: readonly number[] }): Buffer {
  const { data, shape } = (array ?? {}) as Partial<typeof array>;
  const kind = descriptorOf(data);
  if (data === undefined || kind === null) {
    throw new SightlineError(
      'INVALID_INPUT',
      'The data of an .npy file must be a Float32Array, Float64Array, Int32Array, BigInt64Array or Uint8Array.',
    );
  }
  if (!Array.isArray(shape) || !shape.every((length) => Number.isSafeInteger(length) && length >= 0)) {
    throw new SightlineError(
      'INVALID_INPUT',
      `An array cannot have the shape ${shown(shape)}; give a list of whole numbers from 0 up.`,
    );
  }
  const count = elements(shape);
  if (count !== data.length) {
    throw new SightlineError(
      'INVALID_INPUT',
      `An array of ${data.length} elements cannot have the shape [${shape.join(', ')}], which holds ${count}.`,
    );
  }
  const dict = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;
  const long = MAGIC.length + 4 + dict.length + 64 > 0xffff;
  const prefix = MAGIC.length + 2 + (long ? 4 : 2);
  // numpy aligns the data to 64 bytes, so that files can be memory-mapped; spaces fill the gap before the newline.
  const headerLength = Math.ceil((prefix + dict.length + 1) / 64) * 64 - prefix;
  const head = Buffer.alloc(prefix + headerLength, ' ');
  MAGIC.copy(head);
  head.writeUInt8(long ? 2 : 1, 6);
  head.writeUInt8(0, 7);
  if (long) head.writeUInt32LE(headerLength, 8);
  else head.writeUInt16LE(headerLength, 8);
  head.write(dict, prefix, 'latin1');
  head.write('\n', head.length - 1);
  return Buffer.concat([head, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]);
}

/**
 * Reads a numpy `.npy` file, format 1 to 3, little-endian float32, float64, int32, int64 or uint8.
 * Arrays in Fortran order are transposed to row-major. The result owns its memory.
 *
 * @param name what messages call the file, such as its path
 * @throws SightlineError INVALID_INPUT in one sentence, when it is not such a file, is cut short, or has another
 * element type.
 */
export function decodeNpy(buffer: Uint8Array, name: string): NpyArray {
  if (!(buffer instanceof Uint8Array)) {
    throw new SightlineError(
      'INVALID_INPUT',
      `decodeNpy got ${shown(buffer)}; give the bytes of a .npy file as a Uint8Array.`,
    );
  }
  const bytes = Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const refuse = (why: string): never => {
    throw new SightlineError('INVALID_INPUT', `${name} ${why}`);
  };
  if (bytes.length === 0) refuse('is empty; expected a numpy .npy file.');
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    refuse('is not a numpy .npy file: it does not begin with the numpy magic bytes.');
  }
  const version = bytes[6];
  if (version === undefined || bytes.length < (version === 1 ? 10 : 12)) {
    return refuse('is cut short: the .npy header is incomplete.');
  }
  if (version < 1 || version > 3) refuse(`is .npy format ${version}; sightline reads formats 1 to 3.`);
  const prefix = version === 1 ? 10 : 12;
  const start = prefix + (version === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8));
  if (bytes.length < start) refuse('is cut short: the .npy header is incomplete.');

  const header =
    parseHeader(bytes.toString(version === 3 ? 'utf8' : 'latin1', prefix, start)) ??
    refuse('has a .npy header that cannot be read.');
  const dtype =
    DESCRIPTORS[header.descr] ??
    refuse(
      `holds elements of type "${header.descr}"; convert it to float32, float64, int32, int64 or uint8 (little-endian) before saving.`,
    );
  const count = elements(header.shape);
  const size = ELEMENT_BYTES[dtype];
  const needed = count * size;
  if (!Number.isSafeInteger(count) || bytes.length - start < needed) {
    refuse(
      `is cut short: the shape (${header.shape.join(', ')}) needs ${needed} bytes of data, the file has ${bytes.length - start}.`,
    );
  }
  // Copied: the element type may need an alignment that the file's buffer does not have.
  const owned = new Uint8Array(needed);
  owned.set(bytes.subarray(start, start + needed));
  const result = typed(dtype, owned.buffer, header.shape);
  return header.fortran ? transposed(result) : result;
}

/** The array's numbers as float32, row-major: the data itself where it is float32 already, a rounded copy otherwise. */
export function asFloat32(array: NpyArray): Float32Array {
  if (array.dtype === 'float32') return array.data;
  if (array.dtype === 'int64') return Float32Array.from(array.data, Number);
  return Float32Array.from(array.data);
}

const ELEMENT_BYTES: Record<NpyDtype, number> = { float32: 4, float64: 8, int32: 4, int64: 8, uint8: 1 };

function elements(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

function descriptorOf(data: unknown): string | null {
  if (data instanceof Float32Array) return '<f4';
  if (data instanceof Float64Array) return '<f8';
  if (data instanceof Int32Array) return '<i4';
  if (data instanceof BigInt64Array) return '<i8';
  return data instanceof Uint8Array ? '|u1' : null;
}

interface Header {
  descr: string;
  fortran: boolean;
  shape: number[];
}

/** The header is a Python dict literal with exactly three keys, in any order; Python 2 wrote lengths as `3L`. */
function parseHeader(text: string): Header | null {
  const descr = /['"]descr['"]\s*:\s*['"]([^'"]*)['"]/.exec(text)?.[1];
  const fortran = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(text)?.[1];
  const shape = /['"]shape['"]\s*:\s*\(([\d\sL,]*)\)/.exec(text)?.[1];
  // A structured type has a list for its descriptor; naming it beats "cannot be read".
  if (descr === undefined && /['"]descr['"]\s*:\s*\[/.test(text) && fortran !== undefined && shape !== undefined) {
    return { descr: 'structured', fortran: false, shape: [] };
  }
  if (descr === undefined || fortran === undefined || shape === undefined) return null;
  const lengths = shape
    .split(',')
    .map((each) => each.replace('L', '').trim())
    .filter((each) => each !== '')
    .map(Number);
  if (lengths.some((length) => !Number.isSafeInteger(length))) return null;
  return { descr: descr === '<u1' || descr === '>u1' ? '|u1' : descr, fortran: fortran === 'True', shape: lengths };
}

function typed(dtype: NpyDtype, buffer: ArrayBuffer, shape: readonly number[]): NpyArray {
  switch (dtype) {
    case 'float32':
      return { dtype, data: new Float32Array(buffer), shape };
    case 'float64':
      return { dtype, data: new Float64Array(buffer), shape };
    case 'int32':
      return { dtype, data: new Int32Array(buffer), shape };
    case 'int64':
      return { dtype, data: new BigInt64Array(buffer), shape };
    case 'uint8':
      return { dtype, data: new Uint8Array(buffer), shape };
  }
}

/** Column-major data to row-major: walks the result in order and keeps the matching source offset as an odometer. */
function transposed(array: NpyArray): NpyArray {
  const { shape } = array;
  const strides: number[] = [];
  let stride = 1;
  for (const length of shape) {
    strides.push(stride);
    stride *= length;
  }
  const source = array.data as ArrayLike<number | bigint>;
  const result = array.data.slice();
  const target = result as { [index: number]: number | bigint };
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < source.length; to++) {
    target[to] = source[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      from += strides[axis]!;
      if (index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return { ...array, data: result } as NpyArray;
}
