import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  Model,
  symbolic,
  type BoxTarget,
  type DenseCard,
  type Explanation,
  type ModelCard,
  type NamedOptions,
  type Predicted,
} from '../../../lib/index.js';
import { archivePath, plainCard, randomTensor } from '../../support/models.js';

const { select } = symbolic;
const PATH = fileURLToPath(new URL('../../parity/methods/dense-detector.pt', import.meta.url));
const LABELS = ['cat', 'dog', 'lamp'];
const yolo: DenseCard = { kind: 'boxes', values: 'first', place: 'center', objectness: false };
const card = { ...plainCard(16, 16), labels: LABELS, dense: yolo };
const image = randomTensor(1, 16, 16, 7);
const raw = { raw: true } as const;

/** The same answer by a score that is written out, without any target. */
async function written(
  model: Model,
  method: object,
  score: (run: symbolic.Run) => symbolic.Value,
): Promise<Explanation> {
  return (await model.explain(image, { ...method, ...raw, score } as NamedOptions<'gradient'>))[0]!;
}

async function asked(model: Model, method: object, targets: readonly BoxTarget[]): Promise<Explanation> {
  return (await model.explain(image, { ...method, ...raw, targets } as NamedOptions<'gradient'>))[0]!;
}

/** [4 + classes, boxes] as the detector returns it. */
async function rowsOf(model: Model): Promise<number[][]> {
  const [{ logits }] = (await model.predict(image)) as [Predicted];
  const boxes = logits.shape[1]!;
  return Array.from({ length: boxes }, (_, box) =>
    Array.from({ length: logits.shape[0]! }, (_value, value) => logits.data[value * boxes + box]!),
  );
}

const bestOf = (scores: readonly number[]): number => scores.indexOf(Math.max(...scores));

describe('a detector in the form of YOLO, [N, 4 + classes, boxes]', () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(PATH, { device: 'cpu', card, maxBatch: 1 });
  });
  afterAll(() => model.close());

  it('is told by inspect', async () => {
    expect((await model.inspect()).dense).toEqual({
      kind: 'boxes',
      boxes: 16,
      classes: 3,
      isValuesFirst: true,
      firstClass: 4,
      objectness: null,
      place: 'center',
      unit: 'pixels',
    });
  });

  it.each([
    ['gradient', { method: 'gradient' }],
    ['grad-cam', { method: 'grad-cam', layer: 'body.1' }],
    ['layer-cam', { method: 'layer-cam', layer: 'body.1' }],
    ['integrated-gradients', { method: 'integrated-gradients', steps: 4 }],
    ['occlusion', { method: 'occlusion', window: 4, stride: 4 }],
    ['rise', { method: 'rise', masks: 8 }],
    ['ablation-cam', { method: 'ablation-cam', layer: 'body.1' }],
  ])('%s explains the score of the best class of a box, and of a class that is named', async (_, method) => {
    const rows = await rowsOf(model);
    const { maps } = await asked(model, method, [{ box: 6 }, { box: 11, class: 'lamp' }]);
    const best = bestOf(rows[6]!.slice(4));
    const by = [
      [6, best],
      [11, 2],
    ] as const;
    for (const [t, [box, index]] of by.entries()) {
      // The axes of a program's output go by their places, whatever these hold.
      const { maps: plain } = await written(model, method, ({ output }) =>
        select(select(output, 'boxes', 4 + index), 'values', box),
      );
      expect(maps[t]!.target).toEqual({ index, label: LABELS[index], score: Math.fround(rows[box]![4 + index]!), box });
      expect(maps[t]!.max).toBeGreaterThan(maps[t]!.min);
      expect(Array.from(maps[t]!.data)).toEqual(Array.from(plain[0]!.data));
    }
  });

  it('predicts the best boxes, in pixels of the picture, without doubles', async () => {
    const rows = await rowsOf(model);
    const [{ predictions }] = (await model.predict(image, { top: 16 })) as [Predicted];
    const kept: { box: number; index: number; sides: number[] }[] = [];
    const best = rows.map((row) => Math.max(...row.slice(4)));
    const order = rows.map((_, box) => box).sort((a, b) => best[b]! - best[a]!);
    for (const box of order) {
      const [x, y, width, height] = rows[box]! as [number, number, number, number];
      const sides = [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
      const index = bestOf(rows[box]!.slice(4));
      const shared = (other: number[]): number => {
        const across = Math.min(other[2]!, sides[2]!) - Math.max(other[0]!, sides[0]!);
        const down = Math.min(other[3]!, sides[3]!) - Math.max(other[1]!, sides[1]!);
        const area = ([left, top, right, bottom]: number[]): number => (right! - left!) * (bottom! - top!);
        const both = Math.max(0, across) * Math.max(0, down);
        return both / (area(other) + area(sides) - both);
      };
      if (kept.some((other) => other.index === index && shared(other.sides) > 0.5)) continue;
      kept.push({ box, index, sides });
    }
    expect(kept.length).toBeLessThan(16);
    expect(predictions.map(({ box }) => box)).toEqual(kept.map(({ box }) => box));
    predictions.forEach(({ index, label, score, place }, at) => {
      const { box, sides, index: own } = kept[at]!;
      expect([index, label, score]).toEqual([own, LABELS[own], rows[box]![4 + own]]);
      expect(place!.left).toBeCloseTo(sides[0]!, 4);
      expect(place!.top).toBeCloseTo(sides[1]!, 4);
      expect(place!.left + place!.width).toBeCloseTo(sides[2]!, 4);
      expect(place!.top + place!.height).toBeCloseTo(sides[3]!, 4);
    });
  });

  it('gives the place of a box in the picture that was resized and cut', async () => {
    // 80 x 48 by half in both directions, of 40 x 24 the middle 16 x 16.
    const cut: ModelCard = {
      ...card,
      input: { ...card.input, resize: { mode: 'exact', size: [40, 24] }, crop: 'center' },
    };
    await using seen = await Model.load(PATH, { device: 'cpu', card: cut, maxBatch: 1 });
    const data = new Uint8Array(80 * 48 * 3).map((_, i) => (i * 37) % 251);
    const picture = { data, width: 80, height: 48, channels: 3 } as const;
    const [{ predictions, logits }] = (await seen.predict([picture])) as [Predicted];
    const { box, place } = predictions[0]!;
    expect(place!.width).toBeCloseTo(2 * logits.data[2 * 16 + box!]!, 4);
    expect(place!.left + place!.width / 2).toBeCloseTo(24 + 2 * logits.data[box!]!, 4);
    expect(place!.top + place!.height / 2).toBeCloseTo(8 + 2 * logits.data[16 + box!]!, 4);
  });

  it('of values that overflow to no number gives a map that says so', async () => {
    const data = new Float32Array(3 * 256).fill(3e38);
    const [{ maps }] = (await model.explain(
      { data, shape: [1, 3, 16, 16] },
      {
        method: 'gradient',
        targets: [{ box: 4 }],
      },
    )) as [Explanation];
    expect(maps[0]!.target).toMatchObject({ box: 4, score: NaN });
    expect(maps[0]!.state).not.toBe('ok');
  });

  it('of one image among several each has its own boxes', async () => {
    const pair = randomTensor(2, 16, 16, 9);
    const both = await model.explain(pair, { method: 'gradient', raw: true, targets: [[{ box: 1 }], [{ box: 2 }]] });
    const second = { data: pair.data.slice(3 * 256), shape: [1, 3, 16, 16] } as const;
    const [alone] = await model.explain(second, { method: 'gradient', raw: true, targets: [{ box: 2 }] });
    expect(Array.from(both[1]!.maps[0]!.data)).toEqual(Array.from(alone!.maps[0]!.data));
  });
});

describe('what the first values of a box are', () => {
  const boxes = (dense: DenseCard, labels?: string[]): Promise<Model> =>
    Model.load(archivePath('linear-boxes'), {
      device: 'cpu',
      card: { ...plainCard(8, 8), dense, ...(labels && { labels }) },
    });
  const tensor = randomTensor(1, 8, 8, 7);

  it('no place, but the probability of any object', async () => {
    await using model = await boxes({ kind: 'boxes', values: 'last', place: 'none', objectness: true });
    expect((await model.inspect()).dense).toMatchObject({ classes: 4, firstClass: 1, objectness: 0, place: null });
    const [{ maps }] = (await model.explain(tensor, {
      method: 'gradient',
      ...raw,
      targets: [{ box: 3, class: 2 }, { box: 1 }],
    })) as [Explanation];
    const [{ logits, predictions }] = (await model.predict(tensor, { top: 2 })) as [Predicted];
    const row = (box: number): number[] => Array.from(logits.data.slice(5 * box, 5 * box + 5));
    expect(maps[0]!.target.score).toBeCloseTo(row(3)[0]! * row(3)[3]!, 5);
    expect(maps[1]!.target.index).toBe(bestOf(row(1).slice(1)));
    const [{ maps: plain }] = (await model.explain(tensor, {
      method: 'gradient',
      ...raw,
      score: ({ output }) => {
        const values = select(output, 'boxes', 3);
        return select(values, 'values', 3).mul(select(values, 'values', 0));
      },
    })) as [Explanation];
    expect(Array.from(maps[0]!.data)).toEqual(Array.from(plain[0]!.data));
    // Without a place nothing is known to be double.
    expect(predictions).toHaveLength(2);
    expect(predictions[0]).not.toHaveProperty('place');
    const best = [0, 1, 2, 3].map((box) => row(box)[0]! * Math.max(...row(box).slice(1)));
    expect(predictions[0]!.box).toBe(bestOf(best));
    expect(predictions[0]!.score).toBeCloseTo(Math.max(...best), 5);
  });

  it('corners, counted in sides of the image', async () => {
    await using model = await boxes({
      kind: 'boxes',
      values: 'last',
      place: 'corners',
      unit: 'sides',
      objectness: false,
    });
    const [{ logits, predictions }] = (await model.predict(tensor, { top: 1 })) as [Predicted];
    const { box, place } = predictions[0]!;
    const [left, top, right, bottom] = Array.from(logits.data.slice(5 * box!, 5 * box! + 4));
    expect(place!.left).toBeCloseTo(8 * left!, 4);
    expect(place!.top).toBeCloseTo(8 * top!, 4);
    expect(place!.width).toBeCloseTo(8 * (right! - left!), 4);
    expect(place!.height).toBeCloseTo(8 * (bottom! - top!), 4);
  });
});

describe('are refused', () => {
  const refused = async (
    path: string,
    more: object,
    targets: unknown,
    size = 16,
  ): Promise<{ code: string; message: string }> => {
    await using model = await Model.load(path, { device: 'cpu', card: { ...plainCard(size, size), ...more } });
    return await model
      .explain(randomTensor(1, size, size), { method: 'gradient', targets } as NamedOptions<'gradient'>)
      .then(
        () => ({ code: 'none', message: 'no refusal' }),
        (error: { code: string; message: string }) => ({ code: error.code, message: error.message }),
      );
  };

  it.each([
    [
      'a box that is not there',
      { labels: LABELS },
      [{ box: 16 }],
      'UNKNOWN_TARGET',
      'returns 16, numbered from 0 to 15',
    ],
    ['an unknown class', { labels: LABELS }, [{ box: 1, class: 'cap' }], 'UNKNOWN_TARGET', 'no class "cap"'],
    ['half a box', { labels: LABELS }, [{ box: 0.5 }], 'INVALID_OPTION', 'targets'],
    ['masks', { labels: LABELS }, [{ mask: 0 }], 'METHOD_NOT_APPLICABLE', 'boxes and no masks'],
    [
      'an output that neither labels nor card tell',
      {},
      [{ box: 0 }],
      'METHOD_NOT_APPLICABLE',
      'does not tell how many',
    ],
    [
      'a card that says the axes alone',
      { dense: { kind: 'boxes', values: 'first' } },
      [{ box: 0 }],
      'METHOD_NOT_APPLICABLE',
      'does not tell how many',
    ],
    [
      'labels that do not fit what the card says',
      { labels: ['a', 'b'], dense: yolo },
      [{ box: 0 }],
      'METHOD_NOT_APPLICABLE',
      '4 of the place, 2 classes',
    ],
    [
      'a card that says masks',
      { labels: LABELS, dense: { kind: 'masks' } },
      [{ box: 0 }],
      'METHOD_NOT_APPLICABLE',
      'not those of the masks',
    ],
  ])('%s', async (_, more, targets, code, words) => {
    const error = await refused(PATH, more, targets);
    expect(error.code, error.message).toBe(code);
    expect(error.message).toContain(words);
  });

  it('predictions of what is not known', async () => {
    await using model = await Model.load(PATH, { device: 'cpu', card: plainCard(16, 16) });
    await expect(model.predict(image)).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringContaining('give its card the labels') as string,
    });
  });

  it('a card with a word that is none', async () => {
    const wrong = { ...card, dense: { kind: 'boxes', place: 'middle' } };
    await expect(Model.load(PATH, { device: 'cpu', card: wrong as never })).rejects.toMatchObject({
      code: 'INVALID_CARD',
      message: expect.stringContaining('"dense.place"') as string,
    });
  });
});
