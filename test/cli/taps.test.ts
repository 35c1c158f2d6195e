import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { decodeNpy, encodeNpy, Model, type Tensor } from '../../lib/index.js';
import { answerOf, archiveIn, DEMO, fileFolder, sightline, temporaryFolder, useBuiltCommand } from './command.js';

useBuiltCommand();

const folder = fileFolder();
const PICTURE = path.join(DEMO, 'disc-and-flower.png');
const OTHER = path.join(DEMO, 'square-and-oval.png');
const vit = archiveIn(folder, 'timm-vit-fused-traced', 40, 24);
const swin = archiveIn(folder, 'timm-swin-traced', 40, 24);
let model: Model;

beforeAll(async () => {
  model = await Model.load(vit, { device: 'cpu' });
});
afterAll(() => model.close());

const arrayIn = (file: string): Tensor => {
  const { dtype, data, shape } = decodeNpy(readFileSync(file), file);
  expect(dtype).toBe('float32');
  return { data: data as Float32Array, shape };
};

interface Taps {
  images: string[];
  operators: number;
  targets: { index: number; label: string }[];
  logits?: string;
  taps: {
    kind: string;
    name: string;
    shape: number[];
    file: string;
    pictures: string[];
    gradient?: { file: string; pictures: string[] };
  }[];
}

describe('capture', () => {
  it('writes every tap of all images, their gradients and the logits, as the library gives them', async () => {
    const out = temporaryFolder();
    const answer = await answerOf<Taps>(
      ...['capture', PICTURE, OTHER, '--model', vit, '--device', 'cpu', '--out', out, '--gradient', '3'],
      ...['--node', 'blocks.0.norm1', 'head', '--attention', '--query', '--key', '--value'],
    );
    const expected = await model.capture([PICTURE, OTHER], {
      features: ['blocks.0.norm1', 'head'],
      attention: 'all',
      query: 'all',
      key: 'all',
      value: 'all',
      gradients: { target: 3 },
    });
    expect(answer.targets).toEqual([
      { index: 3, label: 'class 3' },
      { index: 3, label: 'class 3' },
    ]);
    expect(answer.operators).toBe(expected.operators);
    expect(arrayIn(answer.logits!)).toEqual(expected.logits);
    expect(answer.taps.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      ...['feature blocks.0.norm1', 'feature head'],
      ...['attention 0', 'attention 1', 'query 0', 'query 1', 'key 0', 'key 1', 'value 0', 'value 1'],
    ]);
    for (const { kind, name, shape, file, pictures, gradient } of answer.taps) {
      const field = kind === 'feature' ? 'features' : (kind as 'attention' | 'query' | 'key' | 'value');
      const of = (tensors: Pick<typeof expected, typeof field>): Tensor =>
        (tensors[field] as Record<string, Tensor>)[name]!;
      expect(arrayIn(file)).toEqual(of(expected));
      expect(shape).toEqual(of(expected).shape);
      expect(arrayIn(gradient!.file)).toEqual(of(expected.gradients!));
      expect(pictures).toHaveLength(2);
      for (const picture of [...pictures, ...gradient!.pictures]) {
        expect((await sharp(picture).metadata()).width).toBeGreaterThan(100);
      }
    }
    // Nothing was written twice, and nothing that is not told.
    const told = answer.taps.flatMap(({ file, pictures, gradient }) => [
      file,
      ...pictures,
      gradient!.file,
      ...gradient!.pictures,
    ]);
    expect(readdirSync(out).sort()).toEqual([...told, answer.logits!].map((file) => path.basename(file)).sort());
  });

  it('runs the model no further than the last tap', async () => {
    const out = temporaryFolder();
    const first = await answerOf<Taps>(
      'capture',
      PICTURE,
      '--model',
      'resnet-tiny-shapes',
      '--device',
      'cpu',
      '--node',
      'layer1',
      '--out',
      out,
    );
    const last = await answerOf<Taps>(
      'capture',
      PICTURE,
      '--model',
      'resnet-tiny-shapes',
      '--device',
      'cpu',
      '--node',
      'layer4',
      '--out',
      out,
    );
    expect(first.operators).toBeLessThan(last.operators / 2);
    expect(first).not.toHaveProperty('logits');
    expect(first.taps[0]).not.toHaveProperty('gradient');
  });

  it('draws windowed attention', async () => {
    const { taps } = await answerOf<Taps>(
      'capture',
      PICTURE,
      '--model',
      swin,
      '--device',
      'cpu',
      '--attention',
      '--out',
      temporaryFolder(),
    );
    expect(taps[0]!.shape).toHaveLength(5);
    expect(existsSync(taps[0]!.pictures[0]!)).toBe(true);
  });

  it('takes a .npy of several images', async () => {
    const out = temporaryFolder();
    const images = {
      data: Float32Array.from({ length: 3 * 3 * 24 * 40 }, (_, i) => Math.cos(i * 0.21)),
      shape: [3, 3, 24, 40],
    };
    const file = path.join(out, 'batch.npy');
    writeFileSync(file, encodeNpy(images));
    const answer = await answerOf<Taps>(
      'capture',
      file,
      '--model',
      vit,
      '--device',
      'cpu',
      '--node',
      'head',
      '--out',
      out,
    );
    expect(answer.images).toEqual([0, 1, 2].map((i) => `${file}[${i}]`));
    expect(arrayIn(answer.taps[0]!.file)).toEqual(
      (await model.capture(images, { features: ['head'] })).features['head'],
    );
  });
});

interface Attention {
  of: string;
  contrast: string;
  blocks: { block: number; heads: number[]; channels: number[] | null; shape: number[]; file?: string }[];
  picture: string;
  drawn: number;
  maps: number;
}

describe('attention', () => {
  const ask = (...rest: string[]): Promise<Attention> =>
    answerOf<Attention>('attention', PICTURE, '--model', vit, '--device', 'cpu', ...rest);
  const flat = (maps: readonly { data: Float32Array }[]): number[] => maps.flatMap(({ data }) => [...data]);

  it("draws the class token's attention, blocks down and heads across, and writes it", async () => {
    const out = temporaryFolder();
    const answer = await ask('--out', path.join(out, 'deep', 'attention.png'), '--npy', path.join(out, 'arrays'));
    const maps = await model.attention(PICTURE);
    expect(answer).toMatchObject({ of: 'probabilities', contrast: 'none', drawn: 6, maps: 6 });
    expect(answer.blocks.map(({ block, heads, channels, shape }) => ({ block, heads, channels, shape }))).toEqual(
      [0, 1].map((block) => ({ block, heads: [0, 1, 2], channels: null, shape: [3, 3, 5] })),
    );
    expect(answer.blocks.flatMap(({ file }) => [...arrayIn(file!).data])).toEqual(flat(maps));
    const { width, height, format } = await sharp(answer.picture).metadata();
    expect(format).toBe('png');
    expect(width / 3).toBeGreaterThan(height / 3);
  });

  it.each([
    ['q', 'query'],
    ['key', 'key'],
    ['v', 'value'],
  ] as const)('writes all channels of %s, contrasted by a sigmoid', async (asked, of) => {
    const out = temporaryFolder();
    const answer = await ask('--of', asked, '--contrast', 'sigmoid', '--out', path.join(out, 'x.webp'), '--npy', out);
    const maps = await model.attention(PICTURE, { of, contrast: 'sigmoid' });
    expect(answer).toMatchObject({ of, contrast: 'sigmoid', maps: 2 * 3 * 8, drawn: 6 });
    expect(answer.blocks.map(({ shape }) => shape)).toEqual([
      [3, 8, 3, 5],
      [3, 8, 3, 5],
    ]);
    expect(answer.blocks.flatMap(({ file }) => [...arrayIn(file!).data])).toEqual(flat(maps));
    expect((await sharp(answer.picture).metadata()).format).toBe('webp');
  });

  it('takes one block, head or channel', async () => {
    const out = path.join(temporaryFolder(), 'x.png');
    expect(await ask('--block', '1', '--out', out)).toMatchObject({
      blocks: [{ block: 1, shape: [3, 3, 5] }],
      drawn: 3,
    });
    expect(await ask('--of', 'k', '--block', '0', '--out', out)).toMatchObject({
      blocks: [{ block: 0, heads: [0, 1, 2], shape: [3, 8, 3, 5] }],
      drawn: 24,
    });
    expect(await ask('--of', 'k', '--block', '0', '--head', '2', '--channel', '5', '--out', out)).toMatchObject({
      blocks: [{ block: 0, heads: [2], channels: [5], shape: [1, 1, 3, 5] }],
      drawn: 1,
    });
  });

  it('says what it does not draw', async () => {
    const { code, stdout, stderr } = await sightline(
      'attention',
      PICTURE,
      '--model',
      vit,
      '--device',
      'cpu',
      '--of',
      'q',
      '--out',
      path.join(temporaryFolder(), 'x.png'),
    );
    expect(code).toBe(0);
    expect(stderr).toMatch(/^sightline: note: only channel 0 of each head is drawn/);
    expect(stdout).toContain('6 of 48 maps drawn');
  });
});
