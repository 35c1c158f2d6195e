import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  METHOD_NAMES,
  Model,
  type Explanation,
  type MaskTarget,
  type ModelCard,
  type NamedOptions,
  type Predicted,
} from '../../../lib/index.js';
import { FEW_SAMPLES } from '../../support/few-samples.js';
import { loadSmall, plainCard, randomTensor } from '../../support/models.js';
import { expectRounded, nudged, type Pixels } from '../../support/rounding.js';
import { readSafetensors } from '../../support/safetensors.js';

const [HEIGHT, WIDTH] = [24, 32];
const PATH = fileURLToPath(new URL('../../parity/methods/dense-masks.pt', import.meta.url));
const LABELS = ['ground', 'cat', 'dog', 'sofa', 'lamp'];
const card = { ...plainCard(HEIGHT, WIDTH), labels: LABELS };
/** As test/parity/methods/dense.py has them. */
const REGION = { left: 5, top: 3, width: 11, height: 8 };

const reference = readSafetensors(new URL('../../parity/methods/dense-masks.safetensors', import.meta.url));
const valuesOf = (key: string): Float32Array => reference.get(key)!.data as Float32Array;
/** Of each image: the places where the class is the highest, and a rectangle. */
const TARGETS: readonly (readonly MaskTarget[])[] = [0, 1].map((i) =>
  Array.from(valuesOf('classes').slice(2 * i, 2 * i + 2)).flatMap((mask) => [
    { mask },
    { mask, region: { boxes: [REGION] } },
  ]),
);
const raw = { raw: true, size: 'grid' } as const;

function image(index: number): Pixels {
  const data = valuesOf('images');
  const size = 3 * HEIGHT * WIDTH;
  return { data: Float32Array.from(data.slice(index * size, (index + 1) * size)), shape: [1, 3, HEIGHT, WIDTH] };
}

let model: Model;
beforeAll(async () => {
  model = await Model.load(PATH, { device: 'cpu', card });
});
afterAll(() => model.close());

const ask = async (pixels: Pixels, options: object, targets: unknown): Promise<Explanation> =>
  (await model.explain(pixels, { ...raw, ...options, targets } as unknown as NamedOptions<'grad-cam'>))[0]!;

describe("pytorch-grad-cam's SemanticSegmentationTarget on the same model", () => {
  const layer = 'body.4';
  it.each([
    ['grad-cam', { method: 'grad-cam', layer }],
    ['hires-cam', { method: 'hires-cam', layer }],
    ['layer-cam', { method: 'layer-cam', layer }],
    ['xgrad-cam', { method: 'xgrad-cam', layer }],
    ['grad-cam++', { method: 'grad-cam++', layer, compat: 'pytorch-grad-cam' }],
    ['gradient', { method: 'gradient' }],
  ])('%s: every image, class and region', async (key, options) => {
    const data = valuesOf(key);
    const { shape } = reference.get(key)!;
    const area = shape[1]! * shape[2]!;
    for (const i of [0, 1]) {
      const { maps } = await ask(image(i), options, TARGETS[i]);
      for (const [t, { data: ours }] of maps.entries()) {
        const at = 4 * i + t;
        const theirs = data.slice(at * area, (at + 1) * area);
        expect(Math.max(...theirs)).toBeGreaterThan(0);
        const again = async (seed: number): Promise<Float32Array> =>
          (await ask(nudged(image(i), seed), options, [TARGETS[i]![t]!])).maps[0]!.data;
        await expectRounded(ours, theirs, `${key}, image ${i}, ${JSON.stringify(TARGETS[i]![t])}`, { model, again });
      }
    }
  });

  it('the score that is told is the score', async () => {
    const data = valuesOf('score');
    for (const i of [0, 1]) {
      const scores = (await ask(image(i), { method: 'gradient' }, TARGETS[i])).maps.map(({ target }) => target.score);
      const again = async (seed: number): Promise<number[]> =>
        (await ask(nudged(image(i), seed), { method: 'gradient' }, TARGETS[i])).maps.map(({ target }) => target.score);
      await expectRounded(scores, data.slice(4 * i, 4 * i + 4), `scores of image ${i}`, { model, again });
    }
  });
});

describe('by hand: a segmenter whose scores are 1, -2, 3 and 1/2, 0, -1 of the colors', () => {
  let hand: Model;
  beforeAll(async () => {
    hand = await loadSmall('linear-mask');
  });
  afterAll(() => hand.close());
  // Red on the left half, where class 0 leads by 1 to 1/2; blue on the right, where it leads by 3 to -1; green at one
  // place, where class 1 leads by 0 to -2.
  const data = new Float32Array(3 * 64);
  for (let place = 0; place < 64; place++) data[(place === 10 ? 1 : place % 8 < 4 ? 0 : 2) * 64 + place] = 1;
  const colors = { data, shape: [1, 3, 8, 8] } as const;
  const explain = async (targets: readonly MaskTarget[]): Promise<Explanation['maps']> =>
    (await hand.explain(colors, { method: 'input-x-gradient', targets, raw: true }))[0]!.maps;

  it('is the highest where no other is, and the sum of its scores there is explained', async () => {
    const [first, second] = await explain([{ mask: 0 }, { mask: 1 }]);
    // 31 places of 1 + 1/4, and 32 of 3 + 1/4.
    expect(first!.target).toEqual({ index: 0, label: 'class 0', score: 31 * 1.25 + 32 * 3.25, places: 63 });
    expect(second!.target).toEqual({ index: 1, label: 'class 1', score: -0.5, places: 1 });
    expect(Array.from(first!.data)).toEqual(
      Array.from({ length: 64 }, (_, place) => (place === 10 ? 0 : place % 8 < 4 ? 1 : 3)),
    );
    expect(second!.state).toBe('flat');
  });

  it('at one place, over boxes and over a mask', async () => {
    const mask = { data: new Uint8Array(64).fill(1, 0, 6), width: 8, height: 8 };
    const [point, boxes, drawn] = await explain([
      { mask: 0, point: [2, 1] },
      { mask: 0, region: { boxes: [{ left: 3, top: 0, width: 2, height: 2 }] } },
      { mask: 1, region: mask },
    ]);
    expect([point!.target.score, point!.target.places]).toEqual([-1.75, 1]);
    expect(point!.data[10]).toBe(-2);
    expect(point!.data.reduce((sum, value) => sum + Math.abs(value), 0)).toBe(2);
    expect([boxes!.target.score, boxes!.target.places]).toEqual([2 * 1.25 + 2 * 3.25, 4]);
    expect(Array.from(boxes!.data.slice(0, 16))).toEqual([0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0]);
    expect([drawn!.target.score, drawn!.target.places]).toEqual([4 * 0 + 2 * -1.5, 6]);
  });

  it('of equal scores the first class is the highest, as argmax has it', async () => {
    // 1, -2 and 3 against 1/2, 0 and -1, with 1/4 and -1/2 of bias: equal at red -3/2.
    const even = { data: new Float32Array(3 * 64).fill(-1.5, 0, 64), shape: [1, 3, 8, 8] } as const;
    const [{ maps }] = (await hand.explain(even, {
      method: 'gradient',
      targets: [{ mask: 0 }, { mask: 1 }],
    })) as [Explanation];
    expect(maps.map(({ target }) => [target.score, target.places])).toEqual([
      [64 * -1.25, 64],
      [0, 0],
    ]);
    // A class that is the highest nowhere has nothing to explain.
    expect(maps[1]!.state).toBe('flat');
  });

  it('occlusion keeps the places of the image itself, whatever it hides', async () => {
    const [{ maps }] = (await hand.explain(colors, {
      method: 'occlusion',
      window: 1,
      stride: 1,
      targets: [{ mask: 0 }, { mask: 1 }],
      raw: true,
    })) as [Explanation];
    // A hidden place loses its color; the class of all zeros is 0, which would otherwise gain the green place.
    expect(Array.from(maps[0]!.data)).toEqual(
      Array.from({ length: 64 }, (_, place) => (place === 10 ? 0 : place % 8 < 4 ? 1 : 3)),
    );
    expect(Array.from(maps[1]!.data).every((value) => value === 0)).toBe(true);
  });

  it('predicts the share of each class', async () => {
    const [{ predictions, logits }] = (await hand.predict(colors)) as [Predicted];
    expect(predictions).toEqual([
      { index: 0, label: 'class 0', score: 63 / 64 },
      { index: 1, label: 'class 1', score: 1 / 64 },
    ]);
    expect(logits.shape).toEqual([2, 8, 8]);
    expect([logits.data[10], logits.data[64 + 10]]).toEqual([-1.75, -0.5]);
    const [first] = await hand.predict(colors, { top: 1 });
    expect(first!.predictions).toHaveLength(1);
  });
});

describe('every method', () => {
  const targets: readonly MaskTarget[] = [{ mask: 'dog', point: [20, 9] }, { mask: 'sofa' }];

  it('that applies explains masks, two targets as two calls, and a batch as its singles', async () => {
    const { methods } = await model.inspect();
    const pair = randomTensor(2, HEIGHT, WIDTH, 5);
    const single = (i: number): Pixels => ({
      data: pair.data.slice(i * 3 * HEIGHT * WIDTH, (i + 1) * 3 * HEIGHT * WIDTH),
      shape: [1, 3, HEIGHT, WIDTH],
    });
    const applying = METHOD_NAMES.filter((name) => methods.find((method) => method.name === name)!.applies);
    expect(applying.length).toBeGreaterThan(25);
    // It shares out differences of logits alone.
    expect(applying).not.toContain('deeplift');
    for (const method of applying) {
      const options = {
        method,
        ...FEW_SAMPLES[method],
        ...(method === 'occlusion' && { window: 8, stride: 8 }),
        ...raw,
      } as unknown as NamedOptions<'grad-cam'>;
      const both = await model.explain(pair, { ...options, targets });
      for (const i of [0, 1]) {
        const again = async (seed: number): Promise<number[]> => {
          const found: number[] = [];
          for (const target of targets) {
            const [map] = (await ask(nudged(single(i), seed), options, [target])).maps;
            found.push(...map!.data);
          }
          return found;
        };
        const ours = both[i]!.maps.flatMap(({ data }) => Array.from(data));
        expect(
          both[i]!.maps.map(({ target }) => target.label),
          method,
        ).toEqual(['dog', 'sofa']);
        await expectRounded(ours, await again(0), `${method}, image ${i}`, { model, again });
      }
    }
  }, 120_000);

  it('answers several methods from one run as from several', async () => {
    const pixels = image(0);
    const asked = [{ method: 'grad-cam' }, { method: 'layer-cam' }] as const;
    const [together] = await model.explain(
      pixels,
      asked.map((one) => ({ ...one, ...raw, targets })),
    );
    for (const [at, one] of asked.entries()) {
      const again = async (seed = 0): Promise<Float32Array> =>
        (await ask(nudged(pixels, seed), one, targets)).maps[0]!.data;
      await expectRounded(together![at]!.maps[0]!.data, await again(), one.method, { model, again });
    }
  });

  it('gives each image its own targets', async () => {
    const pair = randomTensor(2, HEIGHT, WIDTH, 6);
    const explained = await model.explain(pair, {
      method: 'grad-cam',
      targets: [[{ mask: 'cat' }], [{ mask: 'lamp', point: [0, 0] }, { mask: 0 }]],
    });
    expect(explained.map(({ maps }) => maps.map(({ target }) => target.label))).toEqual([['cat'], ['lamp', 'ground']]);
  });
});

describe('of a picture that is resized and cut', () => {
  it('a point and a region are in pixels of the picture', async () => {
    // 80 x 48, of which the middle 64 x 48 is seen at half the size.
    const cut: ModelCard = {
      ...card,
      input: { ...card.input, resize: { mode: 'exact', size: [40, HEIGHT] }, crop: 'center' },
    };
    await using seen = await Model.load(PATH, { device: 'cpu', card: cut });
    const data = new Uint8Array(80 * 48 * 3).map((_, i) => (i * 37) % 251);
    const picture = { data, width: 80, height: 48, channels: 3 } as const;
    const options = { method: 'gradient', raw: true } as const;
    const [{ maps }] = (await seen.explain([picture], {
      ...options,
      targets: [
        { mask: 1, point: [28, 21] },
        { mask: 1, region: { boxes: [{ left: 28, top: 20, width: 2, height: 2 }] } },
        { mask: 1, region: { boxes: [{ left: 8, top: 0, width: 4, height: 48 }] } },
      ],
    })) as [Explanation];
    expect(maps.map(({ target }) => target.places)).toEqual([1, 1, 2 * HEIGHT]);
    expect(maps[0]!.target.score).toBe(maps[1]!.target.score);
    const tensor = (await seen.capture([picture], { input: true })).input!;
    const [{ maps: direct }] = (await seen.explain(tensor, {
      ...options,
      targets: [{ mask: 1, point: [10, 10] }],
    })) as [Explanation];
    expect(direct[0]!.target.score).toBe(maps[0]!.target.score);
    await expect(seen.explain([picture], { ...options, targets: [{ mask: 1, point: [7, 3] }] })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('outside of what the model sees') as string,
    });
  });
});

describe('are refused', () => {
  const refused = async (targets: unknown, more: object = {}): Promise<{ code: string; message: string }> =>
    ask(image(0), { method: 'gradient', ...more }, targets).then(
      () => ({ code: 'none', message: 'no refusal' }),
      (error: { code: string; message: string }) => ({ code: error.code, message: error.message }),
    );

  it.each([
    ['an unknown class', [{ mask: 5 }], 'UNKNOWN_TARGET', 'the model has 5'],
    ['an unknown label', [{ mask: 'cet' }], 'UNKNOWN_TARGET', '"cat"'],
    ['a rank', [{ mask: 'top1' }], 'INVALID_OPTION', 'is a rank'],
    ['a box', [{ box: 0 }], 'METHOD_NOT_APPLICABLE', 'masks and no boxes'],
    ['a class of the image', [1], 'UNKNOWN_TARGET', '{ mask: class }'],
    ['a mixture', [{ mask: 1 }, 1], 'INVALID_OPTION', 'not a mixture'],
    ['masks and boxes', [{ mask: 1 }, { box: 1 }], 'INVALID_OPTION', 'not a mixture'],
    ['an empty list of an image', [[]], 'INVALID_OPTION', 'empty'],
    ['a point outside', [{ mask: 1, point: [32, 0] }], 'INVALID_INPUT', 'lies outside'],
    ['half a pixel', [{ mask: 1, point: [1.5, 0] }], 'INVALID_OPTION', 'targets'],
    [
      'a region of nothing',
      [{ mask: 1, region: { boxes: [{ left: 40, top: 0, width: 9, height: 9 }] } }],
      'INVALID_INPUT',
      'covers no place',
    ],
    [
      'a mask of another size',
      [{ mask: 1, region: { data: new Uint8Array(4), width: 2, height: 2 } }],
      'INVALID_INPUT',
      "picture's size",
    ],
    [
      'a point and a region',
      [{ mask: 1, point: [1, 1], region: { boxes: [REGION] } }],
      'INVALID_OPTION',
      'not at both',
    ],
    ['another word', [{ mask: 1, place: 3 }], 'INVALID_OPTION', 'targets'],
    ['no target', undefined, 'METHOD_NOT_APPLICABLE', 'say what to explain'],
  ])('%s', async (_, targets, code, words) => {
    const error = await refused(targets);
    expect(error.code, error.message).toBe(code);
    expect(error.message).toContain(words);
  });

  it('mirrored images, where the same places show another part', async () => {
    const { code, message } = await refused([{ mask: 1 }], { method: 'grad-cam', augmentationSmoothing: true });
    expect(code).toBe('INVALID_OPTION');
    expect(message).toContain('mirrors the image');
  });

  it('a score beside them, and what is not explain', async () => {
    for (const score of ['probability', 'logit']) {
      expect(await refused([{ mask: 1 }], { score })).toMatchObject({ code: 'INVALID_OPTION' });
    }
    await expect(
      model.evaluate(image(0) as never, {
        methods: ['gradient'],
        metrics: ['complexity'],
        targets: [{ mask: 1 }] as never,
      }),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('masks of a classifier', async () => {
    await using classifier = await loadSmall('conv-net');
    await expect(
      classifier.explain(randomTensor(1, 32, 48), { method: 'gradient', targets: [{ mask: 0 }] }),
    ).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringContaining('class scores and no masks') as string,
    });
  });

  it('a card whose labels are more or fewer than the classes', async () => {
    await expect(Model.load(PATH, { device: 'cpu', card: { ...card, labels: ['a', 'b'] } })).rejects.toMatchObject({
      code: 'INVALID_CARD',
      message: expect.stringContaining('has 2 labels, but the model has 5 classes') as string,
    });
  });
});
