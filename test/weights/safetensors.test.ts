import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { SightlineError } from '../../lib/index.js';
import { duplicateKey } from '../../lib/support/json.js';
import { readHeader } from '../../lib/weights/safetensors.js';

const folder = mkdtempSync(path.join(tmpdir(), 'safetensors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;

/** A file of that content, new. */
function fileOf(...chunks: readonly (string | Uint8Array)[]): string {
  const file = path.join(folder, `${count++}.safetensors`);
  writeFileSync(file, Buffer.concat(chunks.map((chunk) => Buffer.from(chunk as string))));
  return file;
}

function length(bytes: bigint | number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(bytes));
  return buffer;
}

/** A file with that header, as text or as an object, and so many bytes of data. */
function fileWith(header: unknown, data = 0): string {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  return fileOf(length(Buffer.byteLength(text)), text, new Uint8Array(data));
}

const f32 = (shape: unknown, begin: unknown, end: unknown): object => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

async function refusal(file: string): Promise<SightlineError> {
  const error: unknown = await readHeader(file, 0).then(
    () => expect.fail('it was taken'),
    (cause: unknown) => cause,
  );
  if (!(error instanceof SightlineError)) throw error;
  return error;
}

describe('readHeader', () => {
  it('tells dtype, shape and place of every tensor, counted from the start of the file', async () => {
    const header = {
      __metadata__: { format: 'pt' },
      b: f32([2, 3], 8, 32),
      'a.weight': { dtype: 'I64', shape: [], data_offsets: [0, 8] },
      none: f32([0, 4], 32, 32),
    };
    const start = 8 + JSON.stringify(header).length;
    expect([...(await readHeader(fileWith(header, 32), 7))]).toEqual([
      ['b', { file: 7, begin: start + 8, end: start + 32, dtype: 'F32', shape: [2, 3] }],
      ['a.weight', { file: 7, begin: start, end: start + 8, dtype: 'I64', shape: [] }],
      ['none', { file: 7, begin: start + 32, end: start + 32, dtype: 'F32', shape: [0, 4] }],
    ]);
  });

  it('takes a header that is padded with blanks, one without tensors, and a link to a file, as the hub cache has', async () => {
    const padded = fileWith(`${JSON.stringify({ a: f32([1], 0, 4) })}     `, 4);
    expect([...(await readHeader(padded, 0)).keys()]).toEqual(['a']);
    expect((await readHeader(fileWith('{}'), 0)).size).toBe(0);
    const link = path.join(folder, 'link.safetensors');
    symlinkSync(padded, link);
    expect([...(await readHeader(link, 0)).keys()]).toEqual(['a']);
  });

  it('keeps names such as __proto__ and constructor apart from those of objects', async () => {
    const names = await readHeader(
      fileWith(`{"__proto__":${JSON.stringify(f32([1], 0, 4))},"constructor":${JSON.stringify(f32([1], 4, 8))}}`, 8),
      0,
    );
    expect([...names.keys()].sort()).toEqual(['__proto__', 'constructor']);
  });

  const hostile: readonly (readonly [what: string, file: () => string, message: RegExp])[] = [
    [
      'a header of 2^60 bytes',
      () => fileOf(length(2n ** 60n), '{}'),
      /said to take 1152921504606846976 bytes, and 100000000 is the most/,
    ],
    ['a header of 2^64 - 1 bytes', () => fileOf(length(2n ** 64n - 1n), '{}'), /is the most/],
    ['a header longer than the file', () => fileOf(length(99_000_000), '{}'), /and the file has 10; it may be cut off/],
    ['an empty file', () => fileOf(''), /has 0 bytes/],
    ['seven bytes', () => fileOf('1234567'), /has 7 bytes/],
    ['a header of no bytes', () => fileOf(length(0)), /does not begin with "\{"/],
    ['text', () => fileOf('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'), /is the most/],
    ['a header that is no JSON', () => fileWith('{"a":'), /is not JSON/],
    ['a header that is a list', () => fileWith('[]'), /does not begin with "\{"/],
    ['a header that is not UTF-8', () => fileOf(length(4), '{"', Uint8Array.of(0xff, 0xfe)), /is not UTF-8/],
    ['blanks before the header', () => fileWith(' {}'), /does not begin with "\{"/],
    [
      'the same name twice',
      () => fileWith(`{"a":${JSON.stringify(f32([1], 0, 4))},"\\u0061":${JSON.stringify(f32([1], 0, 4))}}`, 4),
      /has "a" twice/,
    ],
    [
      'the same field twice',
      () => fileWith('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"shape":[1]}}', 4),
      /has "shape" twice/,
    ],
    [
      'an unknown dtype',
      () => fileWith({ a: { dtype: 'F31', shape: [1], data_offsets: [0, 4] } }, 4),
      /"a" has the unknown dtype "F31"/,
    ],
    [
      'a dtype that is a name of objects',
      () => fileWith({ a: { dtype: 'constructor', shape: [1], data_offsets: [0, 4] } }, 4),
      /unknown dtype "constructor"/,
    ],
    ['an unknown field', () => fileWith({ a: { ...f32([1], 0, 4), code: 'x' } }, 4), /"a" has a field "code"/],
    ['a negative length', () => fileWith({ a: f32([-1, -1], 0, 4) }, 4), /"a" has the shape \[-1,-1\]/],
    ['a length that is a fraction', () => fileWith({ a: f32([0.5, 2], 0, 4) }, 4), /has the shape/],
    [
      'a length that is no number',
      () => fileWith('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', 4),
      /is not JSON/,
    ],
    ['a length that is null, as NaN becomes', () => fileWith({ a: f32([NaN], 0, 4) }, 4), /has the shape \[null\]/],
    ['a length beyond what a double holds', () => fileWith({ a: f32([2 ** 60], 0, 4) }, 4), /has the shape/],
    [
      'lengths whose product is too large',
      () => fileWith({ a: f32([2 ** 31, 2 ** 31, 4], 0, 4) }, 4),
      /too large for any file/,
    ],
    ['lengths whose product is 2^64', () => fileWith({ a: f32([2 ** 32, 2 ** 32], 0, 0) }), /too large for any file/],
    ['negative offsets', () => fileWith({ a: f32([1], -4, 0) }, 4), /has the offsets \[-4,0\]/],
    ['offsets the wrong way round', () => fileWith({ a: f32([1], 4, 0) }, 4), /ends at 0, before it begins at 4/],
    ['one offset', () => fileWith({ a: { dtype: 'F32', shape: [1], data_offsets: [0] } }, 4), /has the offsets \[0\]/],
    [
      'a shape that takes other bytes',
      () => fileWith({ a: f32([2], 0, 4) }, 4),
      /takes 4 bytes, and its shape \[2\] in F32 takes 8/,
    ],
    [
      'a tensor behind the end',
      () => fileWith({ a: f32([2], 0, 8) }, 4),
      /ends at byte 8 of the data, which has 4; the file may be cut off/,
    ],
    ['tensors that overlap', () => fileWith({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12), /"b" overlaps "a"/],
    ['tensors at the same place', () => fileWith({ a: f32([1], 0, 4), b: f32([1], 0, 4) }, 4), /overlaps/],
    ['a hole', () => fileWith({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12), /4 bytes before "b" belong to no tensor/],
    ['bytes at the end', () => fileWith({ a: f32([1], 0, 4) }, 9), /5 bytes at its end belong to no tensor/],
    ['a tensor that is a number', () => fileWith({ a: 1 }), /"a" is described by no object/],
    ['metadata that are no texts', () => fileWith({ __metadata__: { a: 1 } }), /metadata/],
    ['a name of a megabyte', () => fileWith({ ['a'.repeat(1e6)]: f32([2], 0, 4) }, 4), /^.{0,500}$/],
    ['a hundred thousand brackets', () => fileWith(`{"a":${'['.repeat(1e5)}`), /is not JSON/],
  ];

  it.each(hostile)('refuses %s', async (_, make, message) => {
    const file = make();
    const error = await refusal(file);
    expect(error.code).toBe('INVALID_WEIGHTS');
    expect(error.message).toMatch(message);
    expect(error.message).toContain(file);
    expect(error.message).toMatch(/^[^\n]+\.$/);
  });

  it('refuses a folder, a device, a pipe that nobody writes to, and what is not there', async () => {
    const sub = path.join(folder, 'folder.safetensors');
    mkdirSync(sub);
    const pipe = path.join(folder, 'pipe.safetensors');
    execFileSync('mkfifo', [pipe]);
    for (const each of [sub, '/dev/zero', pipe]) expect((await refusal(each)).code).toBe('NOT_A_FILE');
    expect((await refusal(path.join(folder, 'nothing.safetensors'))).code).toBe('FILE_NOT_FOUND');
  });

  it('reads no more than the header: of a file of 100 GB, in a moment', async () => {
    const bytes = 100e9;
    const file = fileWith({ a: f32([bytes / 4], 0, bytes) });
    const header = 8 + JSON.stringify({ a: f32([bytes / 4], 0, bytes) }).length;
    truncateSync(file, header + bytes); // a hole: it takes no room
    expect((await readHeader(file, 0)).get('a')!.end).toBe(header + bytes);
  });

  it('takes or refuses 500 random damages, and never breaks', async () => {
    let state = 20_240_501;
    const random = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const header = JSON.stringify({
      __metadata__: { format: 'pt' },
      'head.weight': f32([3, 4], 0, 48),
      'head.bias': f32([3], 48, 60),
      step: { dtype: 'I64', shape: [], data_offsets: [60, 68] },
    });
    const good = Buffer.concat([length(header.length), Buffer.from(header), Buffer.alloc(68, 1)]);
    const outcomes = { taken: 0, refused: 0 };
    for (let i = 0; i < 500; i++) {
      let bytes = Buffer.from(good);
      for (let damages = 1 + random(3); damages > 0; damages--) {
        const at = random(8 + header.length + 4);
        switch (random(4)) {
          case 0:
            bytes[Math.min(at, bytes.length - 1)] = random(256);
            break;
          case 1:
            bytes = bytes.subarray(0, random(bytes.length) + 1);
            break;
          case 2:
            bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([random(256), random(256)]), bytes.subarray(at)]);
            break;
          default:
            bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(8))]);
        }
      }
      const file = fileOf(bytes);
      try {
        const tensors = await readHeader(file, 0);
        // What is taken lies within the file.
        for (const { begin, end } of tensors.values()) expect(begin >= 8 && end <= bytes.length).toBe(true);
        outcomes.taken++;
      } catch (error) {
        if (!(error instanceof SightlineError)) throw error;
        expect(error.code).toBe('INVALID_WEIGHTS');
        outcomes.refused++;
      }
      rmSync(file);
    }
    // Both occur: a changed letter of a name is no damage that a reader could see.
    expect(outcomes.taken).toBeGreaterThan(0);
    expect(outcomes.refused).toBeGreaterThan(400);
  });
});

describe('duplicateKey', () => {
  it('finds a key that one object has twice, at any depth, however it is written', () => {
    expect(duplicateKey('{"a":1,"b":{"c":[{"d":1,"d":2}]}}')).toBe('d');
    expect(duplicateKey('{"a\\"b":1, "a\\u0022b":2}')).toBe('a"b');
  });

  it('is not misled by texts, by the same key of other objects, or by lists', () => {
    expect(duplicateKey('{"a":"{\\"a\\":1,","b":{"a":["a","a"]},"c":[{"a":1},{"a":1}]}')).toBeNull();
  });
});
