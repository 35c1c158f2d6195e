import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, describe, expect, it } from 'vitest';

import { readCheckpoint } from '../../lib/archives/checkpoint.js';
import { locateModel } from '../../lib/model/locate.js';
import { skeletonOf } from '../../lib/models/catalog.js';
import { bytesOf, seeded } from '../support/checkpoints.js';
import { findPython } from '../support/python.js';

const script = fileURLToPath(new URL('save_by_release.py', import.meta.url));
const releases = fileURLToPath(new URL('releases/', import.meta.url));

/**
 * Another Python, with whatever release of torch it has, and the six architectures of docs/checkpoints.md instead of
 * the small ones: SIGHTLINE_SAVING_PYTHON="python3.7" npx vitest run test/weights/releases.test.ts
 */
const other = process.env['SIGHTLINE_SAVING_PYTHON'];
const python = other?.split(' ') ?? [findPython()].filter((found) => found !== null);
const ARCHITECTURES =
  other === undefined
    ? ['test_vit', 'test_resnet', 'test_convnext']
    : [
        'resnet18',
        'convnext_tiny',
        'swin_tiny_patch4_window7',
        'vit_tiny_patch16',
        'deit_tiny_distilled_patch16',
        'dinov2_small',
      ];
const TOKENS: Readonly<Record<string, number>> = {
  test_vit: 101,
  deit_tiny_distilled_patch16: 198,
  dinov2_small: 1370,
};

const folder = mkdtempSync(path.join(process.env['SIGHTLINE_SAVING_FOLDER'] ?? tmpdir(), 'releases-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const raw = (numbers: Float32Array | Float64Array | Uint16Array | BigInt64Array | Uint8Array): Buffer =>
  Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength);

/** Numbers that are exact in every float: sign, exponent and leading digits are cut out of those of float32. */
const numbers = Float32Array.from({ length: 24 }, (_, i) => i / 8 - 1);
const half = (value: number): number => {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  return value === 0 ? 0 : ((bits >>> 16) & 0x8000) | ((((bits >>> 23) & 0xff) - 112) << 10) | ((bits >>> 13) & 0x3ff);
};
const columns = (from: number): Float32Array => numbers.filter((_, i) => i % 6 >= from && i % 6 < from + 3);
const turned = Float32Array.from({ length: 24 }, (_, i) => numbers[(i % 4) * 6 + Math.floor(i / 4)]!);

/** What save_by_release.py saves: dtype, shape, bytes. */
const SMALL: Readonly<Record<string, readonly [string, readonly number[], Buffer]>> = {
  float: ['F32', [2, 3, 4], raw(numbers)],
  double: ['F64', [24], raw(Float64Array.from(numbers))],
  half: ['F16', [24], raw(Uint16Array.from(numbers, half))],
  bfloat16: ['BF16', [24], raw(Uint16Array.from(new Uint32Array(numbers.slice().buffer), (bits) => bits >>> 16))],
  long: ['I64', [6], raw(BigInt64Array.from([0n, 1n, 2n, 3n, 4n, 5n]))],
  bool: ['BOOL', [3], raw(Uint8Array.of(1, 0, 1))],
  scalar: ['I64', [], raw(BigInt64Array.of(7n))],
  empty: ['F32', [0, 3], raw(new Float32Array())],
  parameter: ['F32', [4, 6], raw(numbers)],
  left: ['F32', [4, 3], raw(columns(0))],
  right: ['F32', [4, 3], raw(columns(3))],
  turned: ['F32', [6, 4], raw(turned)],
  expanded: ['F32', [2, 3], raw(Float32Array.of(1, 1, 1, 1, 1, 1))],
};

describe('a small checkpoint, as the releases of torch save it', () => {
  const files = readdirSync(releases).filter((name) => name.endsWith('.pth'));

  it('is there of many releases', () => {
    expect(files.length).toBeGreaterThan(5);
  });

  it.each(files)('%s: is read to the bit', async (name) => {
    const file = path.join(releases, name);
    const { tensors } = await readCheckpoint(file, 0);
    const bytes = readFileSync(file);
    expect([...tensors.keys()]).toEqual(Object.keys(SMALL));
    for (const [key, [dtype, shape, expected]] of Object.entries(SMALL)) {
      const part = tensors.get(key)!;
      expect([part.dtype, part.shape], key).toEqual([dtype, shape]);
      expect(bytesOf(bytes, part).equals(expected), key).toBe(true);
    }
    // Two views of one storage are two places in it.
    expect(tensors.get('right')!.begin - tensors.get('left')!.begin).toBe(12);
  });
});

describe.runIf(python.length > 0)('a checkpoint in every wrapper', () => {
  it.each(ARCHITECTURES)('is found to be of %s, each number of it the same to the bit', async (architecture) => {
    const { card } = await skeletonOf(architecture);
    const values = seeded(card, 5, TOKENS[architecture] ?? 197);
    const own = path.join(folder, architecture);
    const source = path.join(own, 'seeded');
    mkdirSync(source, { recursive: true });
    for (const [name, { values: given }] of values) writeFileSync(path.join(source, `${name}.f32`), raw(given));
    const shapes = Object.fromEntries([...values].map(([name, { shape }]) => [name, shape]));
    writeFileSync(path.join(source, 'index.json'), JSON.stringify(shapes));
    // Each wrapper with each prefix of one architecture, of the others each of them once.
    const every = architecture === 'test_vit';
    const [command, ...before] = python;
    execFileSync(command!, [...before, '-W', 'ignore', script, every ? 'all' : 'some', source], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });

    const files = readdirSync(own).filter((name) => name.endsWith('.pth'));
    expect(files).toHaveLength(every ? 30 : 6);
    for (const name of files) {
      const file = path.join(own, name);
      const { archive, weights } = await locateModel(file, null);
      expect(path.basename(archive), name).toBe(`${architecture}.pt`);
      const bytes = readFileSync(file);
      expect(weights!.assignments.map((each) => each.name).sort(), name).toEqual([...values.keys()].sort());
      for (const { name: tensor, parts } of weights!.assignments) {
        const found = Buffer.concat(parts.map((part) => bytesOf(bytes, part)));
        expect(found.equals(raw(values.get(tensor)!.values)), `${tensor} of ${name}`).toBe(true);
      }
    }
    rmSync(own, { recursive: true });
  });
});
