import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { decodeNpy, Model, type LoadOptions } from '../../lib/index.js';
import { findPython } from '../support/python.js';
import { exportModels } from './exports.js';

interface Expected {
  readonly input: string;
  readonly scores: string;
  readonly attention?: string[];
  readonly gradCam?: {
    readonly class: number;
    readonly layer: string;
    readonly map: string;
    readonly rounding: number;
  };
}

const python = findPython();

/** Float32's own rounding of numbers around 1, after some dozens of operations. */
const FLOAT32 = 2 ** -18;

describe.skipIf(python === null)('attention, loops, channels and operators as people write them', () => {
  let folder: string;
  let expected: Record<string, Expected>;

  beforeAll(async () => {
    ({ folder, expected } = await exportModels<Expected>(python!, 'attention_models.py'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const load = (name: string, options: LoadOptions = {}): Promise<Model> =>
    Model.load(join(folder, `${name}.pt`), { device: 'cpu', ...options });
  const array = async (file: string): Promise<{ data: Float32Array; shape: number[] }> => {
    const { data, shape } = decodeNpy(await readFile(join(folder, file)), file);
    return { data: Float32Array.from(data as Float32Array), shape: [...shape] };
  };
  const imagesOf = (name: string): ReturnType<typeof array> => array(expected[name]!.input);
  const expectClose = (found: ArrayLike<number>, wanted: ArrayLike<number>, limit = FLOAT32): void => {
    expect(found.length).toBe(wanted.length);
    let scale = 1,
      worst = 0;
    for (let i = 0; i < wanted.length; i++) {
      scale = Math.max(scale, Math.abs(wanted[i]!));
      worst = Math.max(worst, Math.abs(wanted[i]! - found[i]!));
    }
    expect(worst).toBeLessThanOrEqual(limit * scale);
  };
  const sizeOf = async (name: string): Promise<{ height: number; width: number }> => {
    const { shape } = await imagesOf(name);
    return name === 'channels-last-input'
      ? { height: shape[1]!, width: shape[2]! }
      : { height: shape[2]!, width: shape[3]! };
  };

  const NAMES = [
    'einsum',
    'einsum-dots',
    'from-right',
    'cosine',
    'sinks',
    'gated',
    'talking',
    'grouped',
    'windows-first',
    'heads-first',
    'counted-loop',
    'size-loop',
    'resizing',
    'scripted-densenet',
    'recurrent',
    'local-response-norm',
    'gray',
    'spectral',
    'channels-last-input',
    'sequence-pooling',
    'swin-v2',
    'hiera',
    'tnt',
    'twins',
    'nest',
    'cait',
    'convit',
    'levit',
    'siglip-pooling',
    'swin-pooler',
    'beit-relative-bias',
    'side-by-side',
    'cascade',
  ];

  it.each(NAMES)('%s: logits are PyTorch’s, without trust', async (name) => {
    await using model = await load(name);
    const predicted = await model.predict(await imagesOf(name));
    const { data, shape } = await array(expected[name]!.scores);
    predicted.forEach(({ logits }, i) => expectClose(logits.data, data.subarray(i * shape[1]!, (i + 1) * shape[1]!)));
  });

  it.each([
    'einsum',
    'einsum-dots',
    'from-right',
    'cosine',
    'sinks',
    'gated',
    'talking',
    'grouped',
    'windows-first',
    'heads-first',
    'swin-v2',
    'hiera',
    'tnt',
    'twins',
    'nest',
    'cait',
    'levit',
    'siglip-pooling',
    'swin-pooler',
    'beit-relative-bias',
    'side-by-side',
    'cascade',
  ])('%s: attention is PyTorch’s at every site', async (name) => {
    await using model = await load(name);
    const { attention: sites, unknownAttention } = await model.inspect(await sizeOf(name));
    const wanted = await Promise.all(expected[name]!.attention!.map(array));
    expect(unknownAttention).toBe(0);
    expect(sites.map(({ windows, heads, tokens, keys }) => [2 * windows, heads, tokens, keys])).toEqual(
      wanted.map(({ shape }) => shape),
    );
    const captured = await model.capture(await imagesOf(name), { attention: 'all' });
    const found = Object.values(captured.attention);
    expect(found.length).toBe(wanted.length);
    found.forEach(({ data }, i) => expectClose(data, wanted[i]!.data));
  });

  it.each([
    'einsum',
    'einsum-dots',
    'from-right',
    'cosine',
    'sinks',
    'gated',
    'talking',
    'grouped',
    'sequence-pooling',
    'cait',
    'hiera',
    'tnt',
    'swin-pooler',
    'cascade',
  ])(
    '%s: the default target layer is what the answer still reads patches of, and Grad-CAM there is autograd’s',
    async (name) => {
      const { class: target, layer, map, rounding } = expected[name]!.gradCam!;
      await using model = await load(name);
      expect((await model.inspect(await sizeOf(name))).targetLayer).toBe(layer);
      const { data, shape } = await array(map);
      const explained = await model.explain(await imagesOf(name), {
        method: 'grad-cam',
        targets: [target],
        size: 'grid',
      });
      expect(Math.max(...data)).toBe(1);
      explained.forEach(({ maps }, i) => {
        expect(maps[0]!.shape).toEqual(shape.slice(1));
        const area = shape[1]! * shape[2]!;
        expectClose(maps[0]!.data, data.subarray(i * area, (i + 1) * area), FLOAT32 + 8 * rounding);
      });
    },
  );

  it.each([
    ['talking', /heads are mixed after the softmax/],
    ['windows-first', /windowed/],
    ['hiera', /different sets of tokens|windowed/],
    ['cait', /different sets of tokens|heads are mixed/],
    ['siglip-pooling', /different sets of tokens/],
    ['side-by-side', /side by side/],
    ['cascade', /side by side/],
  ])('%s: rollout is refused before anything runs', async (name, reason) => {
    await using model = await load(name);
    const { methods } = await model.inspect(await sizeOf(name));
    expect(methods.find((method) => method.name === 'attention-rollout')!.reason).toMatch(reason);
  });

  it('beit-relative-bias: every method answers, or is refused in a sentence of its own', async () => {
    await using model = await load('beit-relative-bias');
    const { methods } = await model.inspect(await sizeOf('beit-relative-bias'));
    const { data, shape } = await imagesOf('beit-relative-bias');
    for (const method of ['value-zeroing', 'le-grad', 'attention-norms', 'transformer-attribution', 'gae'] as const) {
      const { applies, reason } = methods.find((each) => each.name === method)!;
      const asked = model.explain({ data, shape: shape }, { method, size: 'grid' });
      if (!applies) {
        await expect(asked).rejects.toMatchObject({
          code: 'METHOD_NOT_APPLICABLE',
          message: expect.stringContaining(reason!) as string,
        });
        expect(reason).not.toMatch(/aten|torch|INTERNAL ASSERT|c10/i);
        continue;
      }
      for (const { maps } of await asked) {
        expect(maps[0]!.shape).toEqual([4, 4]);
        expect(maps[0]!.state).toBe('ok');
      }
    }
  });

  describe('channels', () => {
    it('one: a picture is turned to gray, by Pillow’s formula', async () => {
      await using model = await load('gray');
      expect(model.card.input.channels).toBe(1);
      const pixel = (red: number, green: number, blue: number): Uint8Array =>
        Uint8Array.from({ length: 3 * 28 * 28 }, (_, i) => [red, green, blue][i % 3]!);
      const card = {
        name: 'gray',
        input: {
          width: 28,
          height: 28,
          mean: [0.25],
          std: [0.5],
          resize: { mode: 'exact', size: [28, 28] },
          interpolation: 'bilinear',
          crop: 'none',
        },
      } as const;
      await using plain = await load('gray', { card: card as never });
      const [found] = await plain.predict([{ data: pixel(200, 40, 90), width: 28, height: 28, channels: 3 }]);
      // 0.299 R + 0.587 G + 0.114 B, to a whole level.
      const level = Math.floor((200 * 19595 + 40 * 38470 + 90 * 7471 + 32768) / 65536);
      const [wanted] = await plain.predict({
        data: new Float32Array(28 * 28).fill((level / 255 - 0.25) / 0.5),
        shape: [1, 1, 28, 28],
      });
      expectClose(found!.logits.data, wanted!.logits.data);
      const [explained] = await plain.explain([{ data: pixel(200, 40, 90), width: 28, height: 28, channels: 3 }], {
        method: 'gradient',
      });
      expect(explained!.maps[0]!.shape).toEqual([28, 28]);
    });

    it('eleven: tensors are explained, a picture is refused in one sentence', async () => {
      await using model = await load('spectral');
      const images = await imagesOf('spectral');
      const [explained] = await model.explain(images, { method: 'grad-cam', layer: '4', targets: [1] });
      expect(explained!.maps[0]!.shape).toEqual([30, 30]);
      await expect(
        model.predict([{ data: new Uint8Array(3 * 30 * 30), width: 30, height: 30, channels: 3 }]),
      ).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        message: expect.stringMatching(
          /is a picture, but the model takes images of 11 channels; give it tensors \[N, 11, H, W\]\.$/,
        ) as string,
      });
      await expect(model.predict({ data: new Float32Array(3 * 30 * 30), shape: [1, 3, 30, 30] })).rejects.toMatchObject(
        { code: 'INVALID_INPUT', message: expect.stringContaining('the model takes [N, 11, H, W]') as string },
      );
    });

    it('last: read from the graph, and tensors come so', async () => {
      await using model = await load('channels-last-input');
      expect(await model.inspect({ height: 32, width: 40 })).toMatchObject({ channels: 3, isChannelsLast: true });
    });

    it('in the order BGR and to 255: what a card says is what the model gets', async () => {
      const input = {
        width: 32,
        height: 32,
        resize: { mode: 'exact', size: [32, 32] },
        interpolation: 'bilinear',
        crop: 'none',
      } as const;
      const data = Uint8Array.from({ length: 3 * 32 * 32 }, (_, i) => (i * 37) % 256);
      await using model = await load('resizing', {
        card: {
          name: 'bgr',
          input: { ...input, mean: [104, 117, 124], std: [2, 1, 3], range: 255, order: 'bgr' },
        } as never,
      });
      const [found] = await model.predict([{ data, width: 32, height: 32, channels: 3 }]);
      // Mean and deviation are of R, G, B.
      const tensor = Float32Array.from({ length: data.length }, (_, i) => {
        const channel = 2 - Math.floor(i / 1024);
        return (data[(i % 1024) * 3 + channel]! - [104, 117, 124][channel]!) / [2, 1, 3][channel]!;
      });
      const [wanted] = await model.predict({ data: tensor, shape: [1, 3, 32, 32] });
      expectClose(found!.logits.data, wanted!.logits.data);
    });
  });
});
