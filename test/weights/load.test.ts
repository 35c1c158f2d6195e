import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';

import { binding } from '../../lib/engine/binding.js';
import { Model, type LoadOptions, type ModelCard, type Tensor } from '../../lib/index.js';
import { skeletonOf } from '../../lib/models/catalog.js';
import { locateModel } from '../../lib/model/locate.js';
import { safetensorsOf, seeded, type Values } from '../support/checkpoints.js';
import { plainCard } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

const folder = mkdtempSync(path.join(tmpdir(), 'weights-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const { card: skeleton } = await skeletonOf('test_vit');
const CLASSES = 5;
const card: ModelCard = { ...plainCard(160, 160), architecture: 'test_vit' };
const image = {
  data: Float32Array.from({ length: 3 * 160 * 160 }, (_, i) => Math.sin(0.37 * i)),
  shape: [1, 3, 160, 160],
};

function written(name: string, values: Values, dtype?: string, padding?: number): string {
  const file = path.join(folder, `${name}.safetensors`);
  writeFileSync(file, safetensorsOf(values, dtype, padding));
  return file;
}

async function scoresOf(file: string, options: LoadOptions = {}, pixels: Tensor = image): Promise<number[]> {
  await using model = await Model.load(file, { device: 'cpu', card, ...options });
  expect(model.labels.length).toBe(CLASSES);
  const [{ predictions }] = (await model.predict(pixels, { top: CLASSES })) as [
    Awaited<ReturnType<Model['predict']>>[number],
  ];
  return predictions.toSorted((a, b) => a.index - b.index).map(({ score }) => score);
}

const values = seeded(skeleton, CLASSES, 101);
const plain = written('plain', values);

describe('a checkpoint', () => {
  it('gives the same scores wherever its numbers lie in the file, and in whatever type of float', async () => {
    const expected = await scoresOf(plain);
    expect(Math.max(...expected) - Math.min(...expected)).toBeGreaterThan(0.01);
    await using model = await Model.load(plain, { device: 'cpu', card });
    // Not to the bit: weights are used where they lie, and kernels begin their sums by where that is.
    const compare = async (name: string, dtype: string, padding: number): Promise<void> => {
      const file = written(name, values, dtype, padding);
      await expectRounded(await scoresOf(file), expected, name, {
        model,
        again: (seed) => scoresOf(file, {}, nudged(image, seed)),
      });
    };
    // Three of four such files begin at no multiple of four bytes.
    for (const padding of [0, 1, 2, 3]) await compare(`moved-${padding}`, 'F32', padding);
    await compare('double', 'F64', 1);
    await compare('half', 'BF16', 1);
  });

  it('is read into the type that the model computes in', async () => {
    await using half = await Model.load(plain, { device: 'cpu', card, dtype: 'bf16' });
    await using full = await Model.load(plain, { device: 'cpu', card });
    expect(half.weightBytes).toBeLessThan(0.55 * full.weightBytes);
    const [one, other] = await Promise.all([scoresOf(plain), scoresOf(plain, { dtype: 'bf16' })]);
    // bf16 has 8 bits: every operator rounds to 2^-8 of its result, and probabilities of five classes are a fifth.
    one.forEach((score, i) => expect(other[i]).toBeCloseTo(score, 2));
  });

  it('takes the epsilon of its layer norms from its card', async () => {
    const weights = { repository: 'me/own', file: 'model.safetensors', revision: 'main', naming: 'timm' } as const;
    const own = skeleton.layerNormEps!;
    const expected = await scoresOf(plain);
    expect(await scoresOf(plain, { card: { ...card, weights: { ...weights, layerNormEps: own } } })).toEqual(expected);
    // So large that every norm is nearly flat.
    const flat = await scoresOf(plain, { card: { ...card, weights: { ...weights, layerNormEps: 1 } } });
    expect(flat).not.toEqual(expected);
  });

  it('tells of NaN and infinities, and where they are', async () => {
    const odd = seeded(skeleton, CLASSES, 101);
    odd.get('blocks.0.attn.proj.bias')!.values[3] = NaN;
    odd.get('norm.weight')!.values[0] = -Infinity;
    await using model = await Model.load(written('odd', odd), { device: 'cpu', card });
    const note = model.notes.find((each) => each.includes('NaN'));
    for (const name of ['odd.safetensors', 'blocks.0.attn.proj.bias', 'norm.weight']) expect(note).toContain(name);
  });

  it('tells its architecture by names and shapes', async () => {
    const { architecture: _, ...silent } = card;
    expect(await scoresOf(plain, { card: silent })).toEqual(await scoresOf(plain));
  });

  it('is refused with a wrong architecture, and where there is none', async () => {
    await expect(
      Model.load(plain, { device: 'cpu', card: { ...card, architecture: 'resnet18' } }),
    ).rejects.toMatchObject({ code: 'INVALID_WEIGHTS' });
    await expect(
      Model.load(plain, { device: 'cpu', card: { ...card, architecture: 'vit_giant' } }),
    ).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL' });
    await expect(Model.load(path.join(folder, 'none.safetensors'), { device: 'cpu', card })).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
    });
  });

  it('that was cut after its header was read is refused, and crashes nothing', async () => {
    const file = written('cut', values);
    const { archive, weights } = await locateModel(file, card);
    truncateSync(file, 100_000);
    await expect(
      binding().load({ path: archive, device: 'cpu', dtype: 'f32', optimize: true, trusted: true, weights: weights! }),
    ).rejects.toMatchObject({
      code: 'INVALID_WEIGHTS',
      message: expect.stringMatching(/lies outside its file, which has changed/),
    });
  });

  it('that is not here is named with the command that fetches it', async () => {
    vi.stubEnv('HF_HOME', folder);
    vi.stubEnv('HF_HUB_CACHE', '');
    onTestFinished(() => void vi.unstubAllEnvs());
    await expect(Model.load('vit_base_patch16_224')).rejects.toMatchObject({
      code: 'NOT_PULLED',
      message: 'vit_base_patch16_224 is not on this machine; run `sightline pull vit_base_patch16_224` (346 MB).',
    });
    await expect(Model.load('me/flowers')).rejects.toMatchObject({
      code: 'NOT_PULLED',
      message: 'me/flowers is not on this machine; run `sightline pull me/flowers`.',
    });
    await expect(Model.load('vit_base_patch16_225')).rejects.toMatchObject({
      code: 'UNKNOWN_MODEL',
      message: expect.stringContaining('"vit_base_patch16_224"'),
    });
    // What ends as archives do is a path that was mistyped.
    await expect(Model.load('models/resnet.pt')).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining('models/resnet.pt'),
    });
  });
});
