import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { decodeNpy, Model } from '../../lib/index.js';
import { findPython } from '../support/python.js';
import { exportModels } from './exports.js';

type Expected = Record<string, string | number>;

/** An array as `explain` takes images. */
interface Images {
  readonly data: Float32Array;
  readonly shape: [number, number, number, number];
}

const python = findPython();

/** Float32's own rounding of numbers around 1, after some dozens of operations. */
const FLOAT32 = 2 ** -18;

describe.skipIf(python === null)('kinds of model that people export', () => {
  let folder: string;
  let expected: Record<string, Expected>;

  beforeAll(async () => {
    ({ folder, expected } = await exportModels<Expected>(python!, 'cases_models.py'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const load = (name: string): Promise<Model> => Model.load(join(folder, `${name}.pt`), { device: 'cpu' });
  const array = async (name: string, key: string): Promise<{ data: Float32Array; shape: number[] }> => {
    const file = expected[name]![key] as string;
    const { data, shape } = decodeNpy(await readFile(join(folder, file)), file);
    return { data: Float32Array.from(data as Float32Array), shape: [...shape] };
  };
  const imagesOf = async (name: string): Promise<Images> => {
    const { data, shape } = await array(name, 'input');
    return { data, shape: shape as Images['shape'] };
  };
  const inspect = async (model: Model, name: string): ReturnType<Model['inspect']> => {
    const { shape } = await imagesOf(name);
    return model.inspect({ height: shape[2], width: shape[3] });
  };
  const expectClose = (found: ArrayLike<number>, wanted: ArrayLike<number>, rounding = 0): void => {
    expect(found.length).toBe(wanted.length);
    let scale = 1,
      worst = 0;
    for (let i = 0; i < wanted.length; i++) {
      scale = Math.max(scale, Math.abs(wanted[i]!));
      worst = Math.max(worst, Math.abs(wanted[i]! - found[i]!));
    }
    expect(worst).toBeLessThanOrEqual(FLOAT32 * scale + 8 * rounding);
  };
  const expectMap = async (
    model: Model,
    name: string,
    key: 'gradCam' | 'rollout' | 'gae',
    method: 'grad-cam' | 'attention-rollout' | 'gae',
  ): Promise<void> => {
    const { data, shape } = await array(name, key);
    const explained = await model.explain(await imagesOf(name), {
      method,
      size: 'grid',
      ...(method !== 'attention-rollout' && { targets: [3] }),
    });
    const area = shape[1]! * shape[2]!;
    expect(explained.length).toBe(shape[0]);
    explained.forEach(({ maps }, i) => {
      expect(maps[0]!.shape).toEqual(shape.slice(1));
      const wanted = data.subarray(i * area, (i + 1) * area);
      // A flat map would equal anything that is flat.
      expect(Math.max(...wanted) - Math.min(...wanted)).toBe(1);
      expectClose(maps[0]!.data, wanted, expected[name]![`${key}Rounding`] as number);
    });
  };
  const reasonAgainst = async (model: Model, name: string, method: string): Promise<string | null> =>
    (await inspect(model, name)).methods.find((each) => each.name === method)!.reason;

  it.each([
    'hidden-size',
    'channels-behind',
    'functional-end',
    'two-stages',
    'class-token-first',
    'class-token-last',
    'registers-last',
    'by-reshape',
    'second-token',
    'all-tokens',
    'typed-scale',
    'windows',
    'windows-folded',
    'windows-behind-heads',
  ])('%s: logits are PyTorch’s', async (name) => {
    await using model = await load(name);
    const predicted = await model.predict(await imagesOf(name));
    expectClose(
      predicted.flatMap(({ logits }) => [...logits.data]),
      (await array(name, 'scores')).data,
    );
  });

  describe('the default target layer is the last value with places, and Grad-CAM there is autograd’s', () => {
    it.each([
      ['hidden-size', 'b', 'channels-first'],
      ['channels-behind', 'pooled_feature', 'channels-first'],
      ['functional-end', 'pooled_feature', 'channels-first'],
      ['two-stages', 'features', 'channels-first'],
      ['class-token-first', 'layers.1.norm', 'tokens'],
      ['class-token-last', 'layers.1.norm', 'tokens'],
      ['registers-last', 'layers.1.norm', 'tokens'],
      ['by-reshape', 'layers.1.norm', 'tokens'],
      ['second-token', 'layers.1.norm', 'tokens'],
    ])('%s: %s', async (name, layer, layout) => {
      await using model = await load(name);
      const { targetLayer, nodes } = await inspect(model, name);
      expect(targetLayer).toBe(layer);
      expect(nodes.find((node) => node.name === layer)!.layout).toBe(layout);
      await expectMap(model, name, 'gradCam', 'grad-cam');
    });

    it('typed-scale: what only lends its type takes no places', async () => {
      await using model = await load('typed-scale');
      expect(await inspect(model, 'typed-scale')).toMatchObject({ targetLayer: 'b', placesLostAt: null });
    });
  });

  describe('the token that is classified', () => {
    it.each([
      ['class-token-first', { prefix: 1, suffix: 0, classToken: 0 }],
      ['class-token-last', { prefix: 0, suffix: 1, classToken: 24 }],
      ['registers-last', { prefix: 1, suffix: 4, classToken: 0 }],
      ['by-reshape', { prefix: 1, suffix: 0, classToken: 0 }],
      ['second-token', { prefix: 3, suffix: 0, classToken: 1 }],
    ])('%s: is followed or found by experiment; rollout and GAE are of its row', async (name, tokens) => {
      await using model = await load(name);
      expect((await inspect(model, name)).tokens).toEqual({ height: 4, width: 6, ...tokens, isReadKnown: true });
      await expectMap(model, name, 'rollout', 'attention-rollout');
      await expectMap(model, name, 'gae', 'gae');
    });

    it('all-tokens: where class token and patches are read together, none is assumed', async () => {
      await using model = await load('all-tokens');
      expect((await inspect(model, 'all-tokens')).tokens).toMatchObject({ classToken: null, isReadKnown: false });
      expect(await reasonAgainst(model, 'all-tokens', 'attention-rollout')).toBe(
        'which of its tokens its scores are made of is not known',
      );
      await expect(model.explain(await imagesOf('all-tokens'), { method: 'attention-rollout' })).rejects.toMatchObject({
        code: 'METHOD_NOT_APPLICABLE',
      });
    });
  });

  describe('windows are no heads', () => {
    it('windows: are told by their places', async () => {
      await using model = await load('windows');
      expect((await inspect(model, 'windows')).attention).toMatchObject([{ windows: 4, heads: 3, tokens: 16 }]);
    });

    it.each(['windows-folded', 'windows-behind-heads'])('%s: no number of heads is made up', async (name) => {
      await using model = await load(name);
      const { attention, unknownAttention } = await inspect(model, name);
      expect([attention.length, unknownAttention]).toEqual([0, 1]);
      expect(await reasonAgainst(model, name, 'attention-rollout')).toBe('its attention is of no known form');
    });
  });
});
