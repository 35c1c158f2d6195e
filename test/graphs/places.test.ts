import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { findPython } from '../support/python.js';
import { exportModels } from './exports.js';

interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

interface Expected {
  readonly input: Numbers;
  readonly logits: Numbers;
  readonly gradCam?: { readonly map: Numbers; readonly rounding: number };
}

const python = findPython();

/** Float32's own rounding of numbers around 1, after some dozens of operations. */
const FLOAT32 = 2 ** -19;

const SIZE = { height: 32, width: 32 };

describe.skipIf(python === null)('places of the image, kept and lost', () => {
  let folder: string;
  let expected: Record<string, Expected>;

  beforeAll(async () => {
    ({ folder, expected } = await exportModels<Expected>(python!, 'places_models.py'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const load = (name: string): Promise<Model> => Model.load(join(folder, `${name}.pt`), { device: 'cpu' });
  const imagesOf = (name: string): { data: Float32Array; shape: [number, number, number, number] } => {
    const { data, shape } = expected[name]!.input;
    return { data: Float32Array.from(data), shape: shape as [number, number, number, number] };
  };
  const expectClose = (found: ArrayLike<number>, wanted: readonly number[], limit = FLOAT32): void => {
    const scale = Math.max(1, ...wanted.map(Math.abs));
    expect(found.length).toBe(wanted.length);
    expect(Math.max(...wanted.map((value, i) => Math.abs(value - found[i]!)))).toBeLessThanOrEqual(limit * scale);
  };
  const expectGradCam = async (model: Model, name: string, layer?: string): Promise<void> => {
    const { map, rounding } = expected[name]!.gradCam!;
    const [explained] = await model.explain(imagesOf(name), {
      method: 'grad-cam',
      targets: [1],
      size: 'grid',
      ...(layer !== undefined && { layer }),
    });
    expect(Math.max(...map.data)).toBe(1);
    expect(explained!.maps[0]!.shape).toEqual(map.shape.slice(1));
    expectClose(explained!.maps[0]!.data, map.data, FLOAT32 + 8 * rounding);
  };

  it.each([
    'hardswish',
    'hardswish-in-place',
    'in-place-on-parts',
    'prelu',
    'log-sigmoid',
    'response-norm',
    'channel-gate',
    'window-convolution',
    'filled-up',
    'row-pooling',
    'one-by-one',
    'spectral-gate',
    'appended',
    'appended-to-none',
  ])('%s keeps them: the last layer is explained by default, as autograd does', async (name) => {
    await using model = await load(name);
    expect(await model.inspect(SIZE)).toMatchObject({ targetLayer: 'after', placesLostAt: null });
    const [predicted] = await model.predict(imagesOf(name));
    expectClose(predicted!.logits.data, expected[name]!.logits.data);
    await expectGradCam(model, name);
  });

  it.each([
    ['spectrum', 'fft_fft2'],
    ['matrix-exponential', /^(linalg_)?matrix_exp$/],
  ])('%s loses them: no layer is chosen, and the operator is named', async (name, operator) => {
    await using model = await load(name);
    const { targetLayer, placesLostAt, methods, nodes } = await model.inspect(SIZE);
    expect(targetLayer).toBe('');
    expect(placesLostAt).toEqual({ node: 'middle', operator: expect.stringMatching(operator) as string });
    expect(nodes.find((node) => node.name === 'stem')!.layout).toBe('channels-first');
    const sentence = `the places of the image are lost at "middle" (${placesLostAt!.operator}); name a layer with \`layer\``;
    expect(methods.find((method) => method.name === 'grad-cam')).toMatchObject({ applies: false, reason: sentence });
    await expect(model.explain(imagesOf(name), { method: 'grad-cam', targets: [1] })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringContaining(sentence) as string,
    });
  });

  it('a layer before the loss is explained when it is named', async () => {
    await using model = await load('spectrum');
    await expectGradCam(model, 'spectrum', 'stem');
  });

  it('a map that was filled up is in no even grid while it is', async () => {
    await using model = await load('filled-up');
    const { nodes } = await model.inspect(SIZE);
    expect(nodes.find(({ name }) => name === 'middle.pool')).toMatchObject({ layout: 'other', grid: null });
  });

  it('what is made of one place tells no places apart, however large it is', async () => {
    await using model = await load('from-one');
    const { targetLayer, nodes } = await model.inspect(SIZE);
    expect(targetLayer).toBe('stem');
    expect(nodes.find(({ name }) => name === 'after')).toMatchObject({ shape: [1, 8, 8, 8], layout: 'other' });
    await expectGradCam(model, 'from-one');
  });

  it('each second token of each axis is a grid of half the size', async () => {
    await using model = await load('halves');
    const { targetLayer, nodes } = await model.inspect(SIZE);
    expect(targetLayer).toBe('halves');
    expect(nodes.find(({ name }) => name === 'halves')).toMatchObject({
      layout: 'tokens',
      grid: { height: 4, width: 4, prefix: 0, suffix: 0 },
    });
  });
});
