import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  Model,
  SightlineError,
  type ErrorCode,
  type GeneratedImage,
  type MaximizeOptions,
  type MaximizeProgress,
} from '../../../lib/index.js';
import { archivePath, loadSmall, plainCard } from '../../support/models.js';

let model: Model;
let vit: Model;
beforeAll(async () => {
  // Small images: what is tested here does not depend on their size.
  model = await Model.load('resnet-tiny-shapes', { device: 'cpu', card: plainCard(64, 48) });
  vit = await loadSmall('timm-vit-fused-traced');
});
afterAll(async () => {
  await model.close();
  await vit.close();
});

const CHANNEL = { node: 'layer2', channel: 17 } as const;
const bits = ({ data }: GeneratedImage): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

describe('repeatability', () => {
  it('gives the same bits for the same seed, however often it is looked at, and others for another seed', async () => {
    const options = { ...CHANNEL, steps: 12, seed: 5, jitter: 3, blur: { size: 3, sigma: 1, every: 5 } };
    const first = await model.maximize(options);
    const again = await model.maximize(options);
    const watched = await model.maximize({ ...options, every: 1, onProgress: () => undefined });
    const other = await model.maximize({ ...options, seed: 6 });
    expect(bits(again.image)).toEqual(bits(first.image));
    expect(bits(watched.image)).toEqual(bits(first.image));
    expect(again.activations).toEqual(first.activations);
    expect(bits(other.image)).not.toEqual(bits(first.image));
  });

  it.each(['pixel', 'fourier'] as const)('keeps requests that run side by side apart (%s)', async (parametrization) => {
    const options = { ...CHANNEL, steps: 6, parametrization };
    const alone = [await model.maximize({ ...options, seed: 1 }), await model.maximize({ ...options, seed: 2 })];
    const together = await Promise.all([
      model.maximize({ ...options, seed: 1 }),
      model.maximize({ ...options, seed: 2 }),
    ]);
    together.forEach(({ image }, i) => expect(bits(image)).toEqual(bits(alone[i]!.image)));
  });
});

describe('options', () => {
  it.each([
    ['jitter', { jitter: 0 }, { jitter: 5 }],
    ['blur', {}, { blur: { size: 5, sigma: 2, every: 2 } }],
    ['decay', {}, { decay: 0.5 }],
    ['decorrelate', {}, { decorrelate: false }],
    ['learningRate', {}, { learningRate: 0.01 }],
    ['betas', {}, { betas: [0.5, 0.9] }],
    ['epsilon', {}, { epsilon: 1 }],
    ['l2', {}, { l2: 5 }],
    ['totalVariation', {}, { totalVariation: 5 }],
    [
      'blurred pixels',
      { parametrization: 'pixel' },
      { parametrization: 'pixel', blur: { size: 5, sigma: 2, every: 2 } },
    ],
    ['correlated pixels', { parametrization: 'pixel' }, { parametrization: 'pixel', decorrelate: true }],
  ] as const)('%s changes the image', async (_, without, chosen) => {
    const plain = await model.maximize({ ...CHANNEL, steps: 4, ...without });
    const changed = await model.maximize({ ...CHANNEL, steps: 4, ...chosen });
    expect(bits(changed.image)).not.toEqual(bits(plain.image));
  });

  /** Mean absolute difference of horizontal neighbours. */
  const roughness = ({ data, shape }: GeneratedImage): number => {
    let total = 0;
    for (let i = 1; i < data.length; i++) if (i % shape[2] !== 0) total += Math.abs(data[i]! - data[i - 1]!);
    return total / data.length;
  };
  const contrast = ({ data }: GeneratedImage): number =>
    data.reduce((total, value) => total + value ** 2, 0) / data.length;

  it('smooths by total variation and by blur, and darkens by L2 where black is zero', async () => {
    const settings = { ...CHANNEL, steps: 40, parametrization: 'pixel', jitter: 0 } as const;
    const plain = await model.maximize(settings);
    expect(roughness((await model.maximize({ ...settings, totalVariation: 20 })).image)).toBeLessThan(
      0.5 * roughness(plain.image),
    );
    expect(
      roughness((await model.maximize({ ...settings, blur: { size: 5, sigma: 1.5, every: 1 } })).image),
    ).toBeLessThan(0.5 * roughness(plain.image));
    expect(contrast((await model.maximize({ ...settings, l2: 50 })).image)).toBeLessThan(0.5 * contrast(plain.image));
  });

  it('tells the options as they took effect', async () => {
    const { options, objective } = await model.maximize({ ...CHANNEL, steps: 1 });
    expect(objective).toBe('channel 17 of layer2');
    expect(options).toEqual({
      node: 'layer2',
      of: 'feature',
      channel: 17,
      steps: 1,
      learningRate: 0.05,
      betas: [0.9, 0.999],
      epsilon: 1e-8,
      parametrization: 'fourier',
      decay: 1,
      decorrelate: true,
      l2: 0,
      totalVariation: 0,
      jitter: 3,
      seed: 0,
    });
  });
});

describe('progress', () => {
  it('is told of the start, the steps and the end, with a picture each so many steps', async () => {
    const told: MaximizeProgress[] = [];
    const made = await model.maximize({
      ...CHANNEL,
      steps: 21,
      every: 10,
      onProgress: (progress) => void told.push(progress),
    });
    expect(told.map(({ step }) => step)).toEqual([0, 8, 10, 18, 20, 21]);
    expect(told.filter(({ image }) => image !== undefined).map(({ step }) => step)).toEqual([0, 10, 20, 21]);
    expect(told.every(({ steps }) => steps === 21)).toBe(true);
    expect(made.activations).toEqual(told.map(({ step, activation }) => ({ step, activation })));
    expect(made.activation).toBe(told.at(-1)!.activation);
    expect(bits(told.at(-1)!.image!)).toEqual(bits(made.image));
  });

  it('waits for a promise, and passes on what the callback throws', async () => {
    let isWriting = false;
    const wait = async (): Promise<void> => {
      expect(isWriting).toBe(false);
      isWriting = true;
      await new Promise((resolve) => setTimeout(resolve, 5));
      isWriting = false;
    };
    await model.maximize({ ...CHANNEL, steps: 3, every: 1, onProgress: wait });
    const full = new Error('the disk is full');
    await expect(model.maximize({ ...CHANNEL, steps: 3, onProgress: () => Promise.reject(full) })).rejects.toBe(full);
  });
});

describe('cancellation', () => {
  const refusal = (options: MaximizeOptions): Promise<unknown> =>
    model.maximize(options).then(
      () => null,
      (error: unknown) => error,
    );

  it('ends between calls', async () => {
    const abort = new AbortController();
    let last = 0;
    const error = await refusal({
      ...CHANNEL,
      steps: 10_000,
      signal: abort.signal,
      onProgress: ({ step }) => ((last = step), step >= 16 ? abort.abort() : undefined),
    });
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(last).toBe(16);
  });

  it('ends within a call, at the next step', async () => {
    const abort = new AbortController();
    // On an image so large that a step takes far longer than it takes to abort.
    await using large = await Model.load('resnet-tiny-shapes', { device: 'cpu', card: plainCard(1024, 1024) });
    await large.maximize({ class: 0, steps: 1 });
    const begun = process.cpuUsage();
    await large.maximize({ class: 0, steps: 1 });
    const ofOneStep = process.cpuUsage(begun);
    let since = begun;
    const running = large.maximize({
      class: 0,
      steps: 8,
      signal: abort.signal,
      onProgress: ({ step }) => {
        expect(step).toBe(0);
        setTimeout(() => ((since = process.cpuUsage()), abort.abort()), 50);
      },
    });
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    // It rejects at once; the engine has left it when the model is closed.
    await large.close();
    // By the processor's time, whatever else runs: the step that was under way, and no more of the eight.
    expect(process.cpuUsage(since).user).toBeLessThan(3 * ofOneStep.user);
  });

  it('does not begin where it was aborted before', async () => {
    let told = 0;
    expect(await refusal({ ...CHANNEL, signal: AbortSignal.abort(), onProgress: () => void told++ })).toMatchObject({
      code: 'ABORTED',
    });
    expect(told).toBe(0);
  });

  it('is waited for by close, which others are refused after', async () => {
    const own = await Model.load('resnet-tiny-shapes', { device: 'cpu', card: plainCard(64, 48) });
    const running = own.maximize({ ...CHANNEL, steps: 9 });
    const closing = own.close();
    expect((await running).activations.at(-1)!.step).toBe(9);
    await closing;
    await expect(own.maximize(CHANNEL)).rejects.toMatchObject({ code: 'MODEL_CLOSED' });
  });
});

describe('the image', () => {
  it('is written in the format of its name, and explained as it is', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-maximize-'));
    try {
      const { image } = await model.maximize({ ...CHANNEL, steps: 2 });
      const file = path.join(folder, 'x.png');
      await image.toFile(file);
      const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
      expect([info.width, info.height, info.channels]).toEqual([48, 64, 3]);
      const pixels = image.pixels();
      expect(new Uint8Array(data)).toEqual(pixels.data);
      const corner = [0, 1, 2].map((channel) => Math.round(255 * image.data[channel * 64 * 48]!));
      expect([...pixels.data.subarray(0, 3)]).toEqual(corner);
      const [explained] = await model.explain(pixels, { method: 'cam' });
      expect(explained!.maps[0]!.shape).toEqual([64, 48]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('what cannot be done is refused in one sentence, before anything is computed', () => {
  const refused = async (of: Model, options: object): Promise<SightlineError> => {
    let told = 0;
    const error = await of.maximize({ ...options, onProgress: () => void told++ } as unknown as MaximizeOptions).then(
      () => null,
      (each: unknown) => each,
    );
    expect(told).toBe(0);
    expect(error).toBeInstanceOf(SightlineError);
    expect((error as Error).message).toMatch(/^[A-Z"][^\n]*[.?]$/);
    return error as SightlineError;
  };

  it.each<[string, object, ErrorCode, RegExp]>([
    ['nothing', {}, 'INVALID_OPTION', /nothing to maximize/],
    ['an unknown node', { node: 'layer9', channel: 0 }, 'UNKNOWN_NODE', /no node "layer9".*"layer/],
    ['a channel out of range', { node: 'layer2', channel: 128 }, 'INVALID_OPTION', /no channel 128: layer2 has 128/],
    ['a negative channel', { node: 'layer2', channel: -1 }, 'INVALID_OPTION', /channel: a whole number from 0/],
    [
      'a unit outside',
      { node: 'layer2', channel: 1, unit: { row: 8, column: 0 } },
      'INVALID_OPTION',
      /no place \(8, 0\): layer2 has 8 rows and 6 columns/,
    ],
    [
      'a unit of a vector',
      { node: 'fc', channel: 1, unit: { row: 0, column: 0 } },
      'INVALID_OPTION',
      /"fc" has no places/,
    ],
    ['a token of a CNN', { node: 'layer2', token: 0 }, 'INVALID_OPTION', /"layer2" has no tokens/],
    ['a head of a CNN', { node: 'layer2', head: 0 }, 'METHOD_NOT_APPLICABLE', /no attention/],
    ['a key of a CNN', { node: 'layer2', of: 'key', channel: 0 }, 'METHOD_NOT_APPLICABLE', /no attention/],
    ['a class and a node', { class: 1, node: 'layer2' }, 'INVALID_OPTION', /"class" and "node" were both given/],
    ['a class that is not there', { class: 12 }, 'UNKNOWN_TARGET', /no class 12/],
    ['a rank', { class: 'top1' }, 'UNKNOWN_TARGET', /ranks the classes of an image/],
    ['several ranks', { class: 'top3' }, 'UNKNOWN_TARGET', /ranks the classes of an image/],
    ['no steps', { ...CHANNEL, steps: 0 }, 'INVALID_OPTION', /steps: at least 1/],
    ['half a step', { ...CHANNEL, steps: 1.5 }, 'INVALID_OPTION', /steps: a whole number/],
    ['an even blur', { ...CHANNEL, blur: { size: 4, sigma: 1 } }, 'INVALID_OPTION', /blur\.size: an odd number/],
    ['a blur without width', { ...CHANNEL, blur: { size: 3, sigma: 0 } }, 'INVALID_OPTION', /blur\.sigma/],
    [
      'a blur larger than the image',
      { ...CHANNEL, blur: { size: 97, sigma: 1 } },
      'INVALID_OPTION',
      /A blur of 97 pixels/,
    ],
    ['a learning rate of zero', { ...CHANNEL, learningRate: 0 }, 'INVALID_OPTION', /learningRate: a number above 0/],
    ['a beta of one', { ...CHANNEL, betas: [0.9, 1] }, 'INVALID_OPTION', /betas\.1: a decay rate/],
    ['a negative penalty', { ...CHANNEL, l2: -1 }, 'INVALID_OPTION', /l2: a weight/],
    ['too much jitter', { ...CHANNEL, jitter: 48 }, 'INVALID_OPTION', /A jitter of 48 pixels/],
    [
      'an unknown parametrization',
      { ...CHANNEL, parametrization: 'wavelet' },
      'INVALID_OPTION',
      /parametrization: fourier or pixel/,
    ],
    ['decay of pixels', { ...CHANNEL, parametrization: 'pixel', decay: 1 }, 'INVALID_OPTION', /decay/],
    ['an unknown option', { ...CHANNEL, rate: 1 }, 'INVALID_OPTION', /no option "rate"/],
    ['a picture each zero steps', { ...CHANNEL, every: 0 }, 'INVALID_OPTION', /every: at least 1/],
  ])('%s', async (_, options, code, sentence) => {
    const error = await refused(model, options);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(sentence);
  });

  it.each<[string, object, ErrorCode, RegExp]>([
    ['a head out of range', { node: 'blocks.0.attn', head: 3 }, 'INVALID_OPTION', /no head 3: blocks\.0\.attn has 3/],
    ['a channel of attention', { node: 'blocks.0.attn', head: 0, channel: 1 }, 'INVALID_OPTION', /have no channels/],
    ['a head of a feature', { node: 'blocks.0', of: 'feature', head: 0 }, 'INVALID_OPTION', /has no heads/],
    [
      'a channel of a head out of range',
      { node: 'blocks.0.attn', of: 'key', channel: 8 },
      'INVALID_OPTION',
      /no channel 8/,
    ],
    ['a token out of range', { node: 'blocks.0', token: 16 }, 'INVALID_OPTION', /no token 16: blocks\.0 has 16/],
    [
      'a unit and a token',
      { node: 'blocks.0', channel: 0, token: 1, unit: { row: 0, column: 0 } },
      'INVALID_OPTION',
      /both name a place/,
    ],
    [
      'a patch outside',
      { node: 'blocks.0', channel: 0, unit: { row: 0, column: 5 } },
      'INVALID_OPTION',
      /no place \(0, 5\): blocks\.0 has 3 rows and 5 columns/,
    ],
    ['several blocks', { node: 'blocks', head: 0 }, 'INVALID_OPTION', /"blocks" holds 2 attentions/],
    ['an attention of no module', { node: 'blocks.7.attn', head: 0 }, 'UNKNOWN_NODE', /no attention "blocks\.7\.attn"/],
  ])('%s', async (_, options, code, sentence) => {
    const error = await refused(vit, options);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(sentence);
  });

  it('windowed attention', async () => {
    await using swin = await loadSmall('timm-swin-traced');
    const { attention } = await swin.inspect();
    const windowed = attention.find(({ windows }) => windows > 1)!;
    expect(await refused(swin, { node: windowed.name, head: 0 })).toMatchObject({ code: 'METHOD_NOT_APPLICABLE' });
    const { activation } = await swin.maximize({ node: 'norm', channel: 2, steps: 2 });
    expect(Number.isFinite(activation)).toBe(true);
  });

  it('attention to all patches where there is nothing else', async () => {
    await using average = await Model.load(archivePath('timm-vit-average-traced'), {
      device: 'cpu',
      card: plainCard(24, 40),
    });
    const { attention } = await average.inspect();
    expect((await refused(average, { node: attention[0]!.name, head: 0 })).message).toMatch(/is always 1/);
    const { objective } = await average.maximize({
      node: attention[0]!.name,
      head: 0,
      unit: { row: 0, column: 1 },
      steps: 1,
    });
    expect(objective).toBe(`attention of all patches to the patch (0, 1), head 0 of ${attention[0]!.name}`);
  });

  it('a quantised model', async () => {
    await using quantised = await loadSmall('quantised-static');
    expect(await refused(quantised, { class: 0 })).toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringContaining('quantized') as string,
    });
  });
});

it('refuses a part that has no gradient at the start, rather than hand out noise', async () => {
  await using large = await Model.load('resnet-tiny-shapes', { device: 'cpu', card: plainCard(96, 80) });
  // A unit of a ReLU that lets nothing through on a grey image.
  const error = await large
    .maximize({
      node: 'layer4',
      channel: 9,
      unit: { row: 1, column: 2 },
      parametrization: 'pixel',
      jitter: 0,
      steps: 3,
    })
    .then(
      () => null,
      (each: unknown) => each,
    );
  expect(error).toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('zero everywhere') as string,
  });
});
