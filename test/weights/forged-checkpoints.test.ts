import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { readCheckpoint, verifyCheckpoint } from '../../lib/archives/checkpoint.js';
import { pickle, zip, type ForgedMember } from '../archives/forge.js';

const folder = mkdtempSync(path.join(tmpdir(), 'forged-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const START = Buffer.from([0x80, 2]);
const STOP = Buffer.from('.');
const EMPTY_DICT = Buffer.from('}');
const SET = Buffer.from('s');

/** A storage of four floats, unless told otherwise. */
const storage = (key = '0', elements = 4, device = 'cpu'): Buffer =>
  Buffer.concat([
    pickle.tuple(
      pickle.text('storage'),
      pickle.global('torch', 'FloatStorage'),
      pickle.text(key),
      pickle.text(device),
      pickle.int(elements),
    ),
    Buffer.from('Q'),
  ]);

const tensor = (shape: number[], strides: number[], from = storage(), offset = 0): Buffer =>
  pickle.call(
    pickle.global('torch._utils', '_rebuild_tensor_v2'),
    from,
    pickle.int(offset),
    pickle.tuple(...shape.map(pickle.int)),
    pickle.tuple(...strides.map(pickle.int)),
    pickle.no,
    pickle.call(pickle.global('collections', 'OrderedDict')),
  );

const dict = (value: Buffer): Buffer => Buffer.concat([START, EMPTY_DICT, pickle.text('a'), value, SET, STOP]);

const numbers = Buffer.from(Float32Array.of(1, 2, 3, 4).buffer);

function written(
  name: string,
  data: Buffer,
  others: readonly ForgedMember[] = [],
  stored: Partial<ForgedMember> = {},
): string {
  const file = path.join(folder, `${name}.pth`);
  const members = [{ name: 'a/data.pkl', data }, { name: 'a/data/0', data: numbers, ...stored }, ...others];
  writeFileSync(file, zip(members));
  return file;
}

describe('a checkpoint that was made by hand', () => {
  it('is read where it is sound', async () => {
    const { tensors } = await readCheckpoint(written('sound', dict(tensor([2, 2], [1, 2]))), 3);
    expect([...tensors.keys()]).toEqual(['a']);
    const part = tensors.get('a')!;
    expect(part).toMatchObject({ file: 3, dtype: 'F32', shape: [2, 2], strides: [1, 2] });
    expect(part.end - part.begin).toBe(16);
    await verifyCheckpoint(path.join(folder, 'sound.pth'));
    // What lies on a GPU of another machine lies in the file all the same.
    const elsewhere = dict(tensor([2], [1], storage('0', 4, 'cuda:3'), 2));
    const moved = [...(await readCheckpoint(written('moved', elsewhere), 0)).tensors.values()][0]!;
    expect(moved.begin - part.begin).toBe(8 + (elsewhere.length - dict(tensor([2, 2], [1, 2])).length));
  });

  const touched = path.join(folder, 'touched');
  it.each<[string, RegExp, Buffer, ForgedMember[]?, Partial<ForgedMember>?]>([
    [
      'code',
      /needs posix\.system/,
      dict(pickle.call(pickle.global('posix', 'system'), pickle.text(`touch ${touched}`))),
    ],
    [
      'root code',
      /whole pickled object, posix\.system/,
      Buffer.concat([START, pickle.call(pickle.global('posix', 'system'), pickle.text(`touch ${touched}`)), STOP]),
    ],
    ['a module of TorchScript', /__torch__\.M/, dict(pickle.object('__torch__', 'M', {}))],
    ['reach', /reaches beyond its storage/, dict(tensor([5], [1]))],
    ['stride', /reaches beyond its storage/, dict(tensor([2, 2], [4, 1]))],
    ['offset', /reaches beyond its storage/, dict(tensor([2], [1], storage(), 3))],
    ['negative stride', /impossible sizes or strides/, dict(tensor([2], [-1]))],
    ['2^60', /reaches beyond|more than any memory|impossible/, dict(tensor([2 ** 60], [1]))],
    ['2^40 squared', /more than any memory holds/, dict(tensor([2 ** 40, 2 ** 40], [0, 0]))],
    ['large storage', /says that storage 0 has/, dict(tensor([4], [1], storage('0', 5)))],
    ['missing storage', /names storage 7, which is not there/, dict(tensor([4], [1], storage('7')))],
    ['device', /keeps a storage on a device that is none/, dict(tensor([4], [1], storage('0', 4, '../../x')))],
    ['byte order', /little-endian/, dict(tensor([4], [1])), [{ name: 'a/byteorder', data: Buffer.from('big') }]],
    ['compressed', /are compressed/, dict(tensor([4], [1])), [], { deflate: true }],
    ['two folders', /does not lie in a/, dict(tensor([4], [1])), [{ name: 'b/x', data: Buffer.from('x') }]],
    ['protocol', /no pickle of protocol 2/, Buffer.concat([Buffer.from([0x80, 4]), EMPTY_DICT, STOP])],
    ['trailing bytes', /bytes after its end/, Buffer.concat([dict(tensor([4], [1])), STOP])],
    [
      'a dict in itself',
      /contains itself/,
      Buffer.concat([START, EMPTY_DICT, Buffer.from('q\x00'), pickle.text('a'), Buffer.from('h\x00'), SET, STOP]),
    ],
    ['no tensors', /holds no tensors by name/, dict(pickle.int(3))],
    ['a cut pickle', /ends too early/, dict(tensor([4], [1])).subarray(0, 40)],
  ])('is refused: %s', async (name, message, data, others = [], stored = {}) => {
    await expect(readCheckpoint(written(name, data, others, stored), 0)).rejects.toMatchObject({
      code: 'INVALID_WEIGHTS',
      message: expect.stringMatching(message),
    });
    expect(existsSync(touched)).toBe(false);
  });

  it('is refused where its numbers differ from their checksums', async () => {
    const file = written('sum', dict(tensor([4], [1])), [], { told: { crc32: 1 } });
    await expect(verifyCheckpoint(file)).rejects.toMatchObject({
      code: 'INVALID_WEIGHTS',
      message: expect.stringMatching(/differs from its checksum/),
    });
  });
});
