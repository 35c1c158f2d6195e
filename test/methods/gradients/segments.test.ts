/** Kernel SHAP and LIME against captum, scikit-learn and their definitions, and by hand. */
import { fileURLToPath } from 'node:url';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, stats, type HeatMap } from '../../../lib/index.js';
import { loadSmall, randomTensor } from '../../support/models.js';
import { expectRounded, expectWithin, nudged, roundingOf } from '../../support/rounding.js';
import { numbersOf, readSafetensors } from '../../support/safetensors.js';
import { explainWith, loadNet, NET, weights, type GradientMethod } from './support.js';

type Options = Readonly<Record<string, unknown>>;
const SIDE = 224;

/** What each case of test/parity/methods/segments.py is called there, and what it is here. */
const CASES: readonly (readonly [key: string, method: GradientMethod, options: Options])[] = [
  ['kernel-shap', 'kernel-shap', { samples: 150 }],
  ['kernel-shap.patches', 'kernel-shap', { samples: 60, segments: 'patches', grid: 4, baseline: 'black' }],
  ['kernel-shap.exact', 'kernel-shap', { samples: 62, segments: 'patches', grid: [2, 3] }],
  ['lime', 'lime', { samples: 80 }],
  ['lime.lasso', 'lime', { samples: 60, segments: 'patches', grid: 4, baseline: 'black', penalty: { lasso: 0.05 } }],
  ['lime.captum', 'lime', { samples: 80, compat: 'captum' }],
];

const sampled = (map: ArrayLike<number>): number[] => {
  const values = [];
  for (let row = 3; row < SIDE; row += 7) {
    for (let column = 3; column < SIDE; column += 7) values.push(map[row * SIDE + column]!);
  }
  return values;
};

describe.each([
  ['efficientnet-lite0', 'demo/photos/cat.jpg', 40, 20],
  ['vit-tiny-shapes', 'eval/000.png', 0, 0],
] as const)('%s', (name, file, left, top) => {
  const reference = readSafetensors(new URL(`../../parity/methods/segments-${name}.safetensors`, import.meta.url));
  const targets = numbersOf(reference.get('target')!);
  let model: Model;
  let image: { data: Float32Array; shape: number[] };

  beforeAll(async () => {
    model = await Model.load(name, { device: 'cpu' });
    const { mean, std } = model.card.input;
    const path = fileURLToPath(new URL(`../../../models/${file}`, import.meta.url));
    const pixels = await sharp(path).extract({ left, top, width: SIDE, height: SIDE }).removeAlpha().raw().toBuffer();
    const data = Float32Array.from({ length: 3 * SIDE * SIDE }, (_, i) => {
      const channel = Math.floor(i / (SIDE * SIDE));
      return (pixels[(i % (SIDE * SIDE)) * 3 + channel]! / 255 - mean[channel]!) / std[channel]!;
    });
    image = { data, shape: [1, 3, SIDE, SIDE] };
  });
  afterAll(() => model.close());

  it('is asked about every case', () => {
    expect([...reference.keys()].sort()).toEqual([...CASES.map(([key]) => key), 'target'].sort());
  });

  it.each(CASES)('%s', async (key, method, options) => {
    const theirs = numbersOf(reference.get(key)!);
    expect(new Set(theirs).size).toBeGreaterThan(5);
    const valuesOf = async (seed: number): Promise<number[]> => {
      const [explained] = await explainWith(model, nudged(image, seed), method, options, { targets });
      return sampled(explained!.maps[0]!.data);
    };
    await expectRounded(await valuesOf(0), theirs, `${name} ${key}`, { model, again: valuesOf, promised: 1e-4 });
  });
});

const { classes, channels, height, width } = NET;
const area = height * width;
const CLASS = 3;
const image = randomTensor(1, height, width, 5);
const w = weights(classes * channels * area).slice(CLASS * channels * area, (CLASS + 1) * channels * area);
/** What a score adds up to without the signs of its products, of two sizes of pixels. */
const whole = w.reduce((sum, weight, i) => sum + Math.abs(weight) * (Math.abs(image.data[i]!) + 1), 0);
/** The cell of a grid of 2 x 3 that a place lies in: each has two rows and two columns. */
const cellOf = (place: number): number => Math.floor(place / width / 2) * 3 + Math.floor((place % width) / 2);
const CELLS = 6;
const valuesOf = ({ data }: HeatMap): number[] =>
  Array.from({ length: CELLS }, (_, cell) => data[Array.from({ length: area }, (__, i) => cellOf(i)).indexOf(cell)]!);
/** What each cell brings to the score of a linear model, where its pixels are `baseline` else. */
const brought = (baseline: number): number[] => {
  const sums = new Array<number>(CELLS).fill(0);
  w.forEach((weight, i) => (sums[cellOf(i % area)]! += weight * (image.data[i]! - baseline)));
  return sums;
};

describe('by hand, on a linear model', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadNet('linear');
  });
  afterAll(() => model.close());

  const mapBy = async (method: GradientMethod, options: Options): Promise<HeatMap> =>
    (
      await explainWith(model, image, method, { segments: 'patches', grid: [2, 3], ...options }, { targets: [CLASS] })
    )[0]!.maps[0]!;
  /** Scores are sums of so many products, of which at most 100 samples are weighted and solved for. */
  const ROUNDINGS = 2 * channels * area * 10;

  it.each([
    ['kernel-shap', { samples: 62 }],
    ['kernel-shap', { samples: 62, baseline: 0.5 }],
    ['kernel-shap', { samples: 20, seed: 3 }],
    ['lime', { samples: 40, penalty: { ridge: 0 } }],
    ['lime', { samples: 40, penalty: { ridge: 0 }, baseline: 0.5, distance: 'image', kernelWidth: 2 }],
    ['lime', { samples: 40, penalty: { lasso: 1e-9 }, compat: 'captum' }],
  ] as const)('%s with %j gives each segment what it adds', async (method, options) => {
    const map = await mapBy(method, options);
    const expected = brought('baseline' in options ? options.baseline : 0);
    expectWithin(valuesOf(map), expected, ROUNDINGS, whole);
    expect(map.figures['segments']).toBe(CELLS);
    expect(Math.abs(map.figures['fit']! - 1)).toBeLessThanOrEqual(1e-5);
    // All pixels of a cell have its value.
    expect([...map.data]).toEqual(Array.from({ length: area }, (_, i) => valuesOf(map)[cellOf(i)]!));
  });

  it('a strong ridge makes values small, and a strong lasso leaves none', async () => {
    const size = (map: HeatMap): number => valuesOf(map).reduce((sum, value) => sum + Math.abs(value), 0);
    const [free, held] = [
      await mapBy('lime', { samples: 40, penalty: { ridge: 0 } }),
      await mapBy('lime', { samples: 40, penalty: { ridge: 50 } }),
    ];
    expect(size(held)).toBeLessThan(0.5 * size(free));
    expect(held.figures['fit']!).toBeLessThan(free.figures['fit']!);
    expect([...(await mapBy('lime', { samples: 40, penalty: { lasso: 1e4 } })).data]).toEqual(
      new Array<number>(area).fill(0),
    );
  });

  it('an image of one color is one superpixel, which brings all', async () => {
    const flat = { data: new Float32Array(channels * area).fill(0.5), shape: [1, channels, height, width] };
    const [explained] = await explainWith(model, flat, 'kernel-shap', {}, { targets: [CLASS] });
    const { data, figures } = explained!.maps[0]!;
    const gain = 0.5 * w.reduce((sum, weight) => sum + weight, 0);
    expectWithin(data, new Array<number>(area).fill(gain), 2 * channels * area, whole);
    expect(figures).toMatchObject({ segments: 1, fit: 1 });
  });
});

describe('where segments work together', () => {
  const [tall, wide] = [32, 48];
  const target = 2;
  const pixels = randomTensor(1, tall, wide, 7);
  const cellAt = (i: number): number =>
    Math.floor((Math.floor(i / wide) % tall) / (tall / 2)) * 3 + Math.floor((i % wide) / (wide / 3));
  const options = { segments: 'patches', grid: [2, 3] };
  let model: Model;
  /** Of each set of cells, a bit for each cell that it shows. */
  let scores: number[];
  /** Of a score: what rounding adds up to. */
  let rounding: number;

  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
    rounding = await roundingOf(model);
    const sets = Array.from({ length: 2 ** CELLS }, (_, set) => set);
    const data = Float32Array.from(
      sets.flatMap((set) => Array.from(pixels.data, (value, i) => ((set >> cellAt(i)) & 1 ? value : 0))),
    );
    const predicted = await model.predict({ data, shape: [sets.length, 3, tall, wide] }, { top: 1000 });
    scores = predicted.map(({ predictions }) => predictions.find(({ index }) => index === target)!.score);
  });
  afterAll(() => model.close());

  const mapBy = async (more: Options): Promise<HeatMap> =>
    (
      await explainWith(
        model,
        pixels,
        'kernel-shap',
        { ...options, ...more },
        {
          targets: [target],
          score: 'probability',
        },
      )
    )[0]!.maps[0]!;
  const valuesBy = ({ data }: HeatMap): number[] => {
    const cells = Array.from(data, (_, i) => cellAt(i));
    return Array.from({ length: CELLS }, (_, cell) => data[cells.indexOf(cell)]!);
  };
  const gain = (): number => scores.at(-1)! - scores[0]!;
  const total = (map: HeatMap): number => valuesBy(map).reduce((sum, value) => sum + value, 0);

  it('all sets tried give the Shapley values of the definition, and they sum to the gain', async () => {
    const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
    const expected = Array.from({ length: CELLS }, (_, cell) =>
      scores.reduce((sum, score, set) => {
        if ((set >> cell) & 1) return sum;
        const size = [...set.toString(2)].filter((bit) => bit === '1').length;
        const orders = (factorial(size) * factorial(CELLS - size - 1)) / factorial(CELLS);
        return sum + orders * (scores[set | (1 << cell)]! - score);
      }, 0),
    );
    const map = await mapBy({ samples: 62 });
    // A value is a mean of differences of two scores, both as exact as the network.
    const limit = 2 * rounding * Math.max(...scores);
    for (const [cell, value] of valuesBy(map).entries()) {
      expect(Math.abs(value - expected[cell]!), `cell ${cell}`).toBeLessThanOrEqual(limit);
    }
    expect(Math.max(...expected) - Math.min(...expected)).toBeGreaterThan(10 * limit);
    expect(map.figures['fit']!).toBeLessThan(1 - 1e-4);
    expect(Math.abs(total(map) - gain())).toBeLessThanOrEqual(limit);
    // More samples are the same sets.
    expect([...(await mapBy({ samples: 500 })).data]).toEqual([...map.data]);
  });

  it('drawn sets sum to the gain as well, and another seed draws others', async () => {
    const [one, again, other] = [
      await mapBy({ samples: 30, seed: 1 }),
      await mapBy({ samples: 30, seed: 1 }),
      await mapBy({ samples: 30, seed: 2 }),
    ];
    for (const map of [one, other]) {
      expect(Math.abs(total(map) - gain())).toBeLessThanOrEqual(2 * rounding * Math.max(...scores));
    }
    expect([...again.data]).toEqual([...one.data]);
    expect(Math.max(...one.data.map((value, i) => Math.abs(value - other.data[i]!)))).toBeGreaterThan(1e-5);
  });
});

describe('refused in one sentence', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadNet('linear');
  });
  afterAll(() => model.close());

  it.each([
    [
      { method: 'kernel-shap', segments: 'tiles' },
      /^The option segments of kernel-shap is wrong: 'superpixels' or 'patches' is expected\.$/,
    ],
    [{ method: 'kernel-shap', scale: 0 }, /^The option scale of kernel-shap is wrong: a number above 0 is expected\.$/],
    [{ method: 'lime', penalty: 'none' }, /^The option penalty of lime is wrong: 'ridge', 'lasso', \{ ridge: /],
    [{ method: 'lime', penalty: { lasso: 0 } }, /penalty.* of lime is wrong: 'ridge', 'lasso', \{ ridge: /],
    [{ method: 'lime', kernelWidth: 0 }, /^The option kernelWidth of lime is wrong: a number above 0 is expected\.$/],
    [
      { method: 'lime', segments: 'patches', grid: [5, 6] },
      /^The grid of lime, 5 x 6 cells, is finer than the model's input of 4 x 6 pixels; choose a coarser one\.$/,
    ],
    [
      { method: 'kernel-shap', segments: 'patches', grid: [4, 6], samples: 23 },
      /^kernel-shap cannot tell 24 patches apart by 23 samples; ask for at least 24, or for a coarser grid\.$/,
    ],
    [
      { method: 'lime', segments: 'patches', grid: [2, 3], kernelWidth: 1e-3, compat: 'captum' },
      /No sample is near enough to the image to have any weight; choose a wider kernel\.$/,
    ],
  ] as const)('%j', async (options, message) => {
    await expect(model.explain(image, options as never)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(message) as string,
    });
  });
});

it('fails the image that has more segments than samples alone, not those beside it', async () => {
  await using model = await Model.load('vit-tiny-shapes', { device: 'cpu', maxBatch: 2, maxDelay: 10_000 });
  const halves = (of: (i: number) => number): { data: Float32Array; shape: number[] } => ({
    data: Float32Array.from({ length: 3 * SIDE * SIDE }, (_, i) => of(i % (SIDE * SIDE))),
    shape: [1, 3, SIDE, SIDE],
  });
  const checks = halves((i) => (Math.floor(i / SIDE / 8) + Math.floor((i % SIDE) / 8)) % 2);
  const plain = halves((i) => (i % SIDE < SIDE / 2 ? 1 : -1));
  const ask = { method: 'kernel-shap', samples: 20, scale: 20, smallest: 20, targets: [1] } as const;
  const { batches } = stats();
  const [tooMany, explained] = await Promise.allSettled([model.explain(checks, ask), model.explain(plain, ask)]);
  // A fault of this image: a folder's others are explained.
  expect(tooMany).toMatchObject({
    status: 'rejected',
    reason: {
      code: 'INVALID_INPUT',
      message: expect.stringMatching(
        /The image falls into \d+ segments, which 20 samples cannot tell apart; ask for as many samples, or for larger segments\.$/,
      ) as string,
    },
  });
  expect(explained.status).toBe('fulfilled');
  // One of the two that waited for each other, and the one that was run alone.
  expect(stats().batches - batches).toBe(1);
});
