import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, describe, expect, it } from 'vitest';

import { readCheckpoint } from '../../lib/archives/checkpoint.js';
import { savedFormOf } from '../../lib/archives/saved-form.js';
import { Model, SightlineError, type LoadOptions } from '../../lib/index.js';
import { locateModel } from '../../lib/model/locate.js';
import type { TensorPart } from '../../lib/engine/weight-plan.js';
import { architectures, skeletonOf, type SkeletonCard } from '../../lib/models/catalog.js';
import { findArchitecture } from '../../lib/weights/architecture.js';
import { safetensorsOf, seeded } from '../support/checkpoints.js';
import { plainCard } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';
import { findPython } from '../support/python.js';

const python = findPython();
const folder = mkdtempSync(path.join(tmpdir(), 'saved-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => path.join(folder, name);

const CLASSES = 5;
const names = await architectures();
const { card: skeleton } = await skeletonOf('test_vit');
const values = seeded(skeleton, CLASSES, 101);
const image = {
  data: Float32Array.from({ length: 3 * 160 * 160 }, (_, i) => Math.sin(0.37 * i)),
  shape: [1, 3, 160, 160],
};
writeFileSync(at('weights.safetensors'), safetensorsOf(values));

if (python !== null) {
  const source = at('seeded');
  mkdirSync(source);
  for (const [name, { values: numbers }] of values) {
    writeFileSync(path.join(source, `${name}.f32`), Buffer.from(numbers.slice().buffer));
  }
  const shapes = Object.fromEntries([...values].map(([name, { shape }]) => [name, shape]));
  writeFileSync(path.join(source, 'index.json'), JSON.stringify(shapes));
  const script = fileURLToPath(new URL('save_checkpoints.py', import.meta.url));
  execFileSync(python, [script, folder, source], { stdio: ['ignore', 'inherit', 'inherit'] });
}

async function scoresOf(
  file: string,
  options: LoadOptions = {},
  pixels: typeof image = image,
): Promise<{ scores: number[]; notes: readonly string[] }> {
  await using model = await Model.load(file, { device: 'cpu', card: plainCard(160, 160), ...options });
  const { predictions } = (await model.predict(pixels, { top: CLASSES }))[0]!;
  return { scores: predictions.toSorted((a, b) => a.index - b.index).map(({ score }) => score), notes: model.notes };
}

async function refusalOf(file: string): Promise<SightlineError> {
  const error: unknown = await Model.load(file, { device: 'cpu' }).then(
    async (model) => {
      await model.close();
      return null;
    },
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(SightlineError);
  return error as SightlineError;
}

/** A tensor's numbers in the order of its axes, by the place and strides that the reader found. */
function numbersOf(
  file: Buffer,
  { begin, shape, strides }: { begin: number; shape: readonly number[]; strides?: readonly number[] },
): number[] {
  const steps = strides ?? shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const found: number[] = [];
  const visit = (axis: number, offset: number): void => {
    if (axis === shape.length) found.push(file.readFloatLE(begin + 4 * offset));
    else for (let i = 0; i < shape[axis]!; i++) visit(axis + 1, offset + i * steps[axis]!);
  };
  visit(0, 0);
  return found;
}

/** Not to the bit: kernels begin their sums by where a weight lies. */
async function expectScores(file: string, scores: readonly number[], expected: readonly number[]): Promise<void> {
  await using model = await Model.load(at('weights.safetensors'), { device: 'cpu', card: plainCard(160, 160) });
  await expectRounded(scores, expected, file, {
    model,
    again: async (seed) => (await scoresOf(file, {}, nudged(image, seed))).scores,
  });
}

describe.runIf(python !== null)('a file of torch.save', () => {
  const expected = scoresOf(at('weights.safetensors'));

  it.each(['plain', 'dict', 'parameters', 'shared', 'strided'])('holds the numbers of %s to the bit', async (name) => {
    const file = at(`${name}.pth`);
    const { tensors } = await readCheckpoint(file, 0);
    expect([...tensors.keys()].sort()).toEqual([...values.keys()].sort());
    const bytes = readFileSync(file);
    for (const [key, part] of tensors) {
      expect(part.shape, key).toEqual(values.get(key)!.shape);
      expect(numbersOf(bytes, part), key).toEqual([...values.get(key)!.values]);
    }
    // Only the form that was written so keeps strides.
    expect([...tensors.values()].some(({ strides }) => strides !== undefined)).toBe(name === 'strided');
  });

  it('keeps storages that tensors share, so that the file is mapped once', async () => {
    const { tensors } = await readCheckpoint(at('shared.pth'), 0);
    const sorted = [...tensors.values()].sort((a, b) => a.begin - b.begin);
    for (const [i, part] of sorted.entries()) if (i > 0) expect(part.begin).toBe(sorted[i - 1]!.end);
  });

  it.each([
    'plain',
    'dict',
    'parameters',
    'state_dict',
    'model_state_dict',
    'model',
    'net',
    'ema',
    'shared',
    'strided',
    'half',
    'double',
    'bfloat16',
  ])('gives the scores of the safetensors file: %s', async (name) => {
    const { scores, notes } = await scoresOf(at(`${name}.pth`));
    await expectScores(at(`${name}.pth`), scores, (await expected).scores);
    expect(Math.max(...scores) - Math.min(...scores)).toBeGreaterThan(0.01);
    expect(notes.filter((note) => note.includes('weights at'))).toEqual([]);
  });

  it('says which weights it took of several', async () => {
    const { scores, notes } = await scoresOf(at('both.pth'));
    await expectScores(at('both.pth'), scores, (await expected).scores);
    expect(notes).toContainEqual(expect.stringMatching(/both\.pth holds weights at ema too; those at model are used/));
  });

  it('is found whatever its ending is', async () => {
    for (const name of ['weights.pt', 'weights.bin', 'weights.ckpt', 'weights']) {
      copyFileSync(at('plain.pth'), at(name));
      expect((await locateModel(at(name), null)).archive).toMatch(/test_vit\.pt$/);
    }
    const bundled = fileURLToPath(new URL('../../models/vit-tiny-shapes.pt', import.meta.url));
    expect(await savedFormOf(bundled)).toBe('other');
  });

  it('is refused by name where it needs Python, with the lines that mend it', async () => {
    for (const [name, words] of [
      ['module', [/torch\.nn\.modules\.linear\.Linear/, /torch\.jit\.trace/]],
      ['namespace', [/argparse\.Namespace/, /torch\.save\(saved\['model'\]/]],
      ['numpy', [/numpy\S*\.scalar/, /torch\.save/]],
      ['legacy', [/before PyTorch 1\.6/, /torch\.save\(torch\.load\(.*weights_only=True\)/]],
      ['nothing', [/holds no tensors by name/]],
      ['tensor', [/holds no tensors by name/]],
    ] as const) {
      const error = await refusalOf(at(`${name}.pth`));
      expect(error.code, name).toBe('INVALID_WEIGHTS');
      for (const word of words) expect(error.message).toMatch(word);
    }
  });

  it('that fits nothing is told the nearest architecture, and why', async () => {
    const error = await refusalOf(at('extra.pth'));
    expect(error.details['nearest']).toBe('test_vit');
    expect(error.message).toMatch(/nearest is test_vit: .*1 tensor is not of this architecture \(odd\)/);
  });

  it('that is damaged is refused by a typed error, or not damaged where it counts', async () => {
    const sound = readFileSync(at('plain.pth'));
    const { tensors } = await readCheckpoint(at('plain.pth'), 0);
    const numbers = [...tensors.values()];
    const file = at('damaged.pth');
    let state = 1;
    const next = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    // The pickle is the first member, so its bytes are damaged as often as all others together.
    const pickleEnd = Math.min(...numbers.map(({ begin }) => begin));
    let refused = 0;
    const plain = await scoresOf(at('plain.pth'));
    for (let i = 0; i < 200; i++) {
      const bytes = Buffer.from(sound);
      const place = i % 2 === 0 ? next(pickleEnd) : next(bytes.length);
      bytes[place] = bytes[place]! ^ (1 << next(8));
      writeFileSync(file, i % 10 === 9 ? bytes.subarray(0, next(bytes.length)) : bytes);
      try {
        const { scores } = await scoresOf(file);
        // Padding, dates and the like: then nothing may have changed.
        expect(scores, `damage ${i}`).toEqual(plain.scores);
      } catch (error) {
        if (!(error instanceof SightlineError)) throw error;
        expect(['INVALID_WEIGHTS', 'NOT_TORCHSCRIPT', 'UNTRUSTED_ARCHIVE']).toContain(error.code);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(150);
  });
});

describe('the architecture of a checkpoint', () => {
  const headerOf = ({ tensors }: SkeletonCard, tokens = 197, prefix = ''): Map<string, TensorPart> =>
    new Map(
      Object.entries(tensors).map(([name, lengths]) => {
        const shape = lengths.map((length) => (length === 'classes' ? CLASSES : length === 'tokens' ? tokens : length));
        return [`${prefix}${name}`, { file: 0, begin: 0, end: 0, dtype: 'F32', shape }] as const;
      }),
    );

  // Windows leave no trace in the weights of Swin V2.
  const ALIKE = ['swinv2_tiny_window16', 'swinv2_tiny_window8'];

  it.each(names)('is found by names and shapes, at any size and under any prefix: %s', async (name) => {
    const { card } = await skeletonOf(name);
    const isSized = Object.values(card.tensors).flat().includes('tokens');
    for (const header of [headerOf(card, 197, 'module.model.'), ...(isSized ? [headerOf(card, 577)] : [])]) {
      const found = findArchitecture(['file'], [header], 'auto');
      if (ALIKE.includes(name)) {
        await expect(found).rejects.toMatchObject({
          code: 'INVALID_WEIGHTS',
          message: expect.stringMatching(/fits swinv2_tiny_window16 and swinv2_tiny_window8: give a card that says/),
          details: { architectures: ALIKE },
        });
        continue;
      }
      const { architecture, notes } = await found;
      expect(architecture).toBe(name);
      // What timm has of the same names and shapes is told.
      for (const other of card.alike ?? []) expect(notes.join(' ')).toContain(other);
      // Of Hugging Face's names, which epsilon was taken.
      expect(notes.length, notes.join(' ')).toBe(card.alike !== undefined || name.startsWith('dinov2') ? 1 : 0);
    }
  });

  it('is not found where a tensor is missing, or has another length', async () => {
    for (const [i, name] of names.entries()) {
      const header = headerOf((await skeletonOf(name)).card);
      const [key, part] = [...header].filter(([, { shape }]) => shape.length > 1)[1]!;
      if (i % 2 === 0) header.delete(key);
      else header.set(key, { ...part, shape: part.shape.map((length) => length + 1) });
      await expect(findArchitecture(['file'], [header], 'auto'), name).rejects.toMatchObject({
        code: 'INVALID_WEIGHTS',
        details: { nearest: name === ALIKE[1] ? ALIKE[0] : name },
      });
    }
  });
});
