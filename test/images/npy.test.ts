import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { asFloat32, decodeNpy, encodeNpy, type NpyDtype } from '../../lib/support/npy.js';

const folder = fileURLToPath(new URL('./fixtures/npy/', import.meta.url));
const read = async (name: string) => decodeNpy(await readFile(folder + name), name);
const numpySays = async (): Promise<Record<NpyDtype, number[]>> =>
  JSON.parse(await readFile(`${folder}values.json`, 'utf8'));

describe('decodeNpy reads what numpy wrote', () => {
  it.each(['float32', 'float64', 'int32', 'int64', 'uint8'] as const)('%s', async (dtype) => {
    const array = await read(`${dtype}.npy`);
    expect(array.dtype).toBe(dtype);
    expect(array.shape).toEqual([2, 3, 4]);
    expect(Array.from(array.data as ArrayLike<number | bigint>, Number)).toEqual((await numpySays())[dtype]);
  });

  it.each(['version-2.npy', 'version-3.npy', 'fortran.npy'])('%s', async (file) => {
    const array = await read(file);
    expect(array.shape).toEqual([2, 3, 4]);
    expect(Array.from(array.data as Float32Array)).toEqual((await numpySays()).float32);
  });

  it('a single number and an empty array', async () => {
    expect(await read('scalar.npy')).toEqual({ dtype: 'float64', shape: [], data: new Float64Array([2.5]) });
    expect(await read('empty.npy')).toEqual({ dtype: 'float32', shape: [0, 3], data: new Float32Array(0) });
  });

  it('bytes that lie unaligned inside a larger buffer', async () => {
    const bytes = await readFile(`${folder}float64.npy`);
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    const array = decodeNpy(shifted.subarray(3), 'shifted');
    expect(Array.from(array.data as Float64Array)).toEqual((await numpySays()).float64);
  });
});

describe('asFloat32', () => {
  it('rounds float64 and int64 to float32', async () => {
    const { float32, int64 } = await numpySays();
    expect(Array.from(asFloat32(await read('float64.npy')))).toEqual(float32);
    expect(Array.from(asFloat32(await read('int64.npy')))).toEqual(int64);
  });
});

describe('decodeNpy refuses in one sentence', () => {
  const invalid = (message: RegExp) =>
    expect.objectContaining({ code: 'INVALID_INPUT', message: expect.stringMatching(message) });
  const refusal = (bytes: Uint8Array, message: RegExp) =>
    expect(() => decodeNpy(bytes, 'x.npy')).toThrow(invalid(message));

  it('an empty file and one with other magic bytes', () => {
    refusal(new Uint8Array(0), /^x\.npy is empty/);
    refusal(Buffer.from('PK\x03\x04 something'), /^x\.npy is not a numpy \.npy file/);
  });

  it('a header or data cut short', async () => {
    const bytes = await readFile(`${folder}float32.npy`);
    for (const length of [6, 7, 9, 60]) refusal(bytes.subarray(0, length), /header is incomplete/);
    refusal(bytes.subarray(0, bytes.length - 1), /the shape \(2, 3, 4\) needs 96 bytes of data, the file has 95\./);
  });

  it('a shape too large for any file', async () => {
    const bytes = Buffer.from(await readFile(`${folder}float32.npy`));
    const text = bytes
      .toString('latin1')
      .replace('(2, 3, 4), }        ', '(2, 3, 9999999999), }')
      .slice(0, bytes.length);
    refusal(Buffer.from(text, 'latin1'), /is cut short/);
  });

  it('types and versions that it does not know', async () => {
    refusal(await readFile(`${folder}big-endian.npy`), /type ">f4"; convert it/);
    refusal(await readFile(`${folder}complex.npy`), /type "<c8"/);
    refusal(await readFile(`${folder}structured.npy`), /type "structured"/);
    const future = Buffer.from(await readFile(`${folder}float32.npy`));
    future[6] = 9;
    refusal(future, /format 9; sightline reads formats 1 to 3/);
  });

  it('a header that is no dict', async () => {
    const bytes = Buffer.from(await readFile(`${folder}float32.npy`));
    bytes.fill('x', 10, 127);
    refusal(bytes, /header that cannot be read/);
  });
});

describe('encodeNpy', () => {
  it.each(['float32', 'float64', 'int32', 'int64', 'uint8'] as const)(
    'writes %s byte for byte as numpy does',
    async (dtype) => {
      const bytes = await readFile(`${folder}${dtype}.npy`);
      expect(encodeNpy(decodeNpy(bytes, dtype)).equals(bytes)).toBe(true);
    },
  );

  it('aligns the data to 64 bytes and keeps shapes of 0, 1 and many axes', () => {
    for (const shape of [[], [1], [1, 1, 1, 1]]) {
      const bytes = encodeNpy({ data: new Float32Array([7]), shape });
      expect((bytes.length - 4) % 64).toBe(0);
      expect(decodeNpy(bytes, 'x').shape).toEqual(shape);
    }
  });

  it('writes only the part of the memory that the view shows', () => {
    const view = new Float32Array([1, 2, 3, 4]).subarray(1, 3);
    expect(Array.from(decodeNpy(encodeNpy({ data: view, shape: [2] }), 'x').data as Float32Array)).toEqual([2, 3]);
  });

  it('turns to format 2 for a header beyond 65,535 bytes', () => {
    const shape = Array.from({ length: 30000 }, () => 1);
    const bytes = encodeNpy({ data: new Uint8Array([5]), shape });
    expect(bytes[6]).toBe(2);
    expect(decodeNpy(bytes, 'x').shape).toEqual(shape);
  });

  it('refuses a shape that does not fit', () => {
    expect(() => encodeNpy({ data: new Float32Array(5), shape: [2, 3] })).toThrow(
      expect.objectContaining({
        code: 'INVALID_INPUT',
        message: 'An array of 5 elements cannot have the shape [2, 3], which holds 6.',
      }),
    );
  });
});

describe('encodeNpy and decodeNpy refuse what is no array', () => {
  const invalid = (message: RegExp) =>
    expect.objectContaining({
      name: 'SightlineError',
      code: 'INVALID_INPUT',
      message: expect.stringMatching(message) as string,
    }) as Error;
  const data = new Float32Array(2);
  it.each([
    [{ data: [1, 2], shape: [2] }, /^The data of an \.npy file must be a Float32Array/],
    [{ data: new Uint16Array(2), shape: [2] }, /^The data of an \.npy file/],
    [null, /^The data of an \.npy file/],
    [{ data }, /^An array cannot have the shape undefined/],
    [{ data, shape: 2 }, /^An array cannot have the shape 2/],
    [{ data, shape: [1n, 2] }, /^An array cannot have the shape a list/],
    [{ data, shape: [-1, -2] }, /^An array cannot have the shape \[-1,-2\]/],
    [{ data, shape: [3] }, /^An array of 2 elements cannot have the shape \[3\]/],
  ] as const)('%o', (array, message) => {
    expect(() => encodeNpy(array as never)).toThrow(invalid(message));
  });

  it('bytes that are none', () => {
    expect(() => decodeNpy('x.npy' as never, 'x.npy')).toThrow(invalid(/^decodeNpy got "x\.npy"/));
    expect(() => decodeNpy(undefined as never, 'x.npy')).toThrow(invalid(/^decodeNpy got undefined/));
  });
});
