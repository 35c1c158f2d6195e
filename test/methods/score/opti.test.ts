import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type ExplainOptions } from '../../../lib/index.js';
import { loadSmall, pixelsOf, plainCard, randomTensor } from '../../support/models.js';
import { expectRounded, expectUnlike, expectWithin, nudged } from '../../support/rounding.js';
import { readSafetensors } from '../../support/safetensors.js';
import { part, SHIPPED, SMALL, subject, type Subject } from './reference.js';

/** What each map of test/parity/methods/opti.py is called there, and what it is here. */
const MAPS: readonly (readonly [key: string, options: object])[] = [
  ['opti-cam', {}],
  ['opti-cam.one', { steps: 1 }],
  ['opti-cam.few', { steps: 7 }],
  ['opti-cam.slow', { steps: 7, learningRate: 0.01 }],
  ['opti-cam.mean', { steps: 7, baseline: 'zero' }],
  ['opti-cam.probability', { steps: 7, score: 'probability' }],
];

describe.each([...SHIPPED, ...SMALL])('%s', (name) => {
  const reference = readSafetensors(new URL(`../../parity/methods/opti-${name}.safetensors`, import.meta.url));
  let from: Subject;

  beforeAll(async () => {
    from = await subject(name);
  });
  afterAll(() => Promise.all([from.model.close(), from.asExported.close()]));

  it('is asked about every map', () => {
    const known = MAPS.map(([key]) => key);
    expect([...reference.keys()].filter((key) => !known.includes(key))).toEqual([]);
    expect(reference.size).toBeGreaterThanOrEqual(known.length - 1);
  });

  it.each(MAPS.filter(([key]) => reference.has(key)))('%s', async (key, options) => {
    const request = { method: 'opti-cam', ...options, ...from.common, size: 'grid', raw: true } as ExplainOptions;
    const explained = await from.model.explain(from.images, request);
    for (const [i, { maps }] of explained.entries()) {
      const theirs = part({ ...from, reference }, key, i);
      expect(Math.max(...theirs) - Math.min(...theirs)).toBeGreaterThan(0);
      await expectRounded(maps[0]!.data, theirs, `${name} ${key}, image ${i}`, {
        model: from.model,
        promised: 1e-4,
        again: async (seed) => {
          const pixels = nudged(await pixelsOf(from.model, from.images[i]!), seed);
          return (await from.model.explain(pixels, { ...request, targets: from.common.targets[i]! }))[0]!.maps[0]!.data;
        },
      });
    }
  });

  it('moves away from equal weights, and with steps from one another', async () => {
    const mapBy = async (options: object): Promise<Float32Array> =>
      (
        await from.model.explain(from.images[0]!, {
          method: 'opti-cam',
          ...options,
          ...from.common,
          targets: from.common.targets[0]!,
          size: 'grid',
          raw: true,
        } as ExplainOptions)
      )[0]!.maps[0]!.data;
    const [one, slow] = [
      part({ ...from, reference }, 'opti-cam.one', 0),
      await mapBy({ steps: 7, learningRate: 0.01 }),
    ];
    await expectUnlike(slow, one, `${name}: one step and seven`, from.model);
  });
});

describe('by hand, on two channels of 2 x 2 places', () => {
  const [red, green] = [
    [1, 2, 3, 4],
    [0, 4, 0, 0],
  ] as const;
  let model: Model;
  const raw = { method: 'opti-cam', layer: 'relu', targets: [0], size: 'grid', raw: true, steps: 1 } as const;

  beforeAll(async () => {
    model = await Model.load(fileURLToPath(new URL('../../parity/methods/score-two-by-two.pt', import.meta.url)), {
      device: 'cpu',
      card: plainCard(2, 2),
    });
  });
  afterAll(() => model.close());

  it.each([0.1, 2])('one step of Adam at the rate %d goes that far up for red and down for green', async (rate) => {
    // The logit is mean red + 2 mean green + 1. With more of red the mask of the places 2 and 3 grows, and those of 0
    // and 1, the lowest and the highest, stay 0 and 1: the score rises with red's weight and falls with green's.
    const image = { data: Float32Array.from([...red, ...green, 0, 0, 0, 0]), shape: [1, 3, 2, 2] };
    const [explained] = await model.explain([image], { ...raw, learningRate: rate });
    const share = 1 / (1 + Math.exp(-2 * rate));
    const combined = red.map((value, i) => share * value + (1 - share) * green[i]!);
    const [low, high] = [Math.min(...combined), Math.max(...combined)];
    // Adam's step is the rate but for its epsilon of 1e-8, over a gradient of 0.1 and more: 2 roundings. The softmax
    // passes on half of what two logits of at most 2 are off by six roundings, and rounds three times itself; a product
    // and a sum of numbers up to 4 follow, and a quotient of two differences.
    const roundings = (2 * 4 * (2 + (6 * 2 * 2) / 2 + 3 + 2)) / (high - low) + 3;
    expectWithin(
      explained!.maps[0]!.data,
      combined.map((value) => (value - low) / (high - low)),
      2 * roundings,
      1,
    );
  });

  it('a layer that is zero everywhere stays where it began', async () => {
    const dark = { data: new Float32Array(12), shape: [1, 3, 2, 2] };
    const [explained] = await model.explain([dark], { ...raw, steps: 3 });
    expect([...explained!.maps[0]!.data]).toEqual([0, 0, 0, 0]);
    expect(explained!.maps[0]!.state).toBe('flat');
  });
});

describe('the image seen through its map', () => {
  it('scores higher than through equal weights', async () => {
    await using model = await loadSmall('torchvision-resnet-traced');
    const images = randomTensor(3, 32, 48, 21);
    const scoreThrough = async (options: object): Promise<number[]> => {
      const explained = await model.explain(images, { method: 'opti-cam', ...options, targets: [3] } as never);
      const seen = explained.flatMap(({ maps }, i) =>
        [0, 1, 2].flatMap((channel) =>
          Array.from(maps[0]!.data, (kept, at) => kept * images.data[(3 * i + channel) * 32 * 48 + at]!),
        ),
      );
      const predicted = await model.predict({ data: Float32Array.from(seen), shape: images.shape });
      return predicted.map(({ logits }) => logits.data[3]!);
    };
    // So small a rate leaves the weights equal.
    const [optimized, equal] = [await scoreThrough({}), await scoreThrough({ steps: 1, learningRate: 1e-12 })];
    for (const [i, score] of optimized.entries()) expect(score).toBeGreaterThan(equal[i]!);
  });
});

describe('refused in one sentence', () => {
  it.each([
    [
      { steps: 0 },
      'INVALID_OPTION',
      /^The option steps of opti-cam is wrong: a whole number from 1 to 100000 is expected\.$/,
    ],
    [
      { learningRate: 0 },
      'INVALID_OPTION',
      /^The option learningRate of opti-cam is wrong: a number above 0 is expected\.$/,
    ],
    [{ learningRate: 'fast' }, 'INVALID_OPTION', /^The option learningRate of opti-cam is wrong: a number above 0 is/],
    [{ baseline: 'gray' }, 'INVALID_OPTION', /^The option baseline of opti-cam is wrong: 'zero', 'black', 'white', /],
    [{ baseline: [0, 0] }, 'INVALID_OPTION', /^The baseline has 2 numbers, but the model's images have 3 channels/],
    [{ layer: 'avgpool' }, 'METHOD_NOT_APPLICABLE', /"avgpool" has no spatial axes/],
    [{ layer: 'layer9' }, 'UNKNOWN_NODE', /no layer "layer9"/],
  ])('%j', async (options, code, message) => {
    await using model = await loadSmall('torchvision-resnet-traced');
    await expect(
      model.explain(randomTensor(1, 32, 48), { method: 'opti-cam', ...options } as never),
    ).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });
});
