import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { Model, type Input, type SightlineError } from '../../../lib/index.js';
import { defineMethod } from '../../../lib/methods/method.js';
import { grad, sum } from '../../../lib/symbolic/index.js';
import { archivePath, loadSmall, pixelsOf, plainCard, randomTensor } from '../../support/models.js';
import { expectRounded, expectWithin, nudged, roundingOf } from '../../support/rounding.js';
import { readSafetensors } from '../../support/safetensors.js';
import { explainWith, loadNet, NET, weights, type GradientMethod } from './support.js';

type Options = Readonly<Record<string, unknown>>;
const COLOR = [0.5, -0.25, 1];
const SEVERAL = ['zero', 0.75, COLOR];

/** What each map of test/parity/methods/deeplift.py is called there, and what it is here. */
const MAPS: readonly (readonly [key: string, method: GradientMethod, options: Options])[] = [
  ['deeplift', 'deeplift', {}],
  ['deeplift.captum', 'deeplift', {}],
  ['deeplift.color', 'deeplift', { baseline: COLOR }],
  ['deeplift-shap', 'deeplift-shap', { baselines: SEVERAL }],
];
const SHIPPED = ['resnet-tiny-shapes', 'vit-tiny-shapes'];
const SMALL = [
  'timm-resnet-traced',
  'torchvision-resnet-basic-scripted',
  'timm-vit-average-traced',
  'timm-vit-qk-norm-traced',
  'timm-deit-distilled-traced',
];
const PICTURES = ['000.png', '002.png'].map((file) =>
  fileURLToPath(new URL(`../../../models/eval/${file}`, import.meta.url)),
);

async function small(name: string): Promise<{ model: Model; images: Input[] }> {
  const input = readSafetensors(new URL(`../../parity/references/${name}.safetensors`, import.meta.url)).get('input')!;
  const [, channels, height, width] = input.shape as [number, number, number, number];
  const size = channels * height * width;
  return {
    model: await Model.load(archivePath(name), { device: 'cpu', card: plainCard(height, width) }),
    images: [0, 1].map((i) => ({
      data: (input.data as Float32Array).slice(i * size, (i + 1) * size),
      shape: [1, channels, height, width],
    })),
  };
}

describe.each([...SHIPPED, ...SMALL])('%s', (name) => {
  const reference = readSafetensors(new URL(`../../parity/methods/deeplift-${name}.safetensors`, import.meta.url));
  const targets = Array.from(reference.get('targets')!.data as BigInt64Array, Number);
  const [first, step] = SHIPPED.includes(name) ? [7, 16] : [0, 1];
  let model: Model;
  let images: readonly Input[];

  beforeAll(async () => {
    if (SHIPPED.includes(name)) {
      model = await Model.load(name, { device: 'cpu' });
      images = PICTURES;
    } else {
      ({ model, images } = await small(name));
    }
  });
  afterAll(() => model?.close());

  it('is asked about every map', () => {
    const known = ['targets', ...MAPS.map(([key]) => key)];
    expect([...reference.keys()].filter((key) => !known.includes(key))).toEqual([]);
    expect(reference.size).toBeGreaterThanOrEqual(4);
  });

  it.each(MAPS.filter(([key]) => reference.has(key)))('%s', async (key, method, options) => {
    const { data, shape } = reference.get(key)!;
    const size = data.length / shape[0]!;
    const places = (map: { data: ArrayLike<number>; shape: readonly number[] }): number[] => {
      const found = [];
      for (let row = first; row < map.shape[0]!; row += step) {
        for (let column = first; column < map.shape[1]!; column += step) {
          found.push(map.data[row * map.shape[1]! + column]!);
        }
      }
      return found;
    };
    for (const [i, image] of images.entries()) {
      const ask = async (input: Input): Promise<number[]> =>
        places((await explainWith(model, input, method, options, { targets: [targets[i]!] }))[0]!.maps[0]!);
      const theirs = Array.from((data as Float32Array).subarray(i * size, (i + 1) * size));
      await expectRounded(await ask(image), theirs, `${name} ${key}, image ${i}`, {
        model,
        again: async (seed) => ask(nudged(await pixelsOf(model, image), seed)),
        promised: 1e-4,
      });
    }
  });

  it("sums to what the class's score gains", async () => {
    for (const [method, options] of [
      ['deeplift', {}],
      ['deeplift', { baseline: 'blur' }],
      ['deeplift-shap', { samples: 3 }],
    ] as const) {
      const explained = await explainWith(model, images, method, options, { targets: [targets[0]!] });
      const rounding = 2 * (await roundingOf(model));
      for (const { maps } of explained) {
        const { data, figures } = maps[0]!;
        const total = data.reduce((sum, value) => sum + value, 0);
        const size = data.reduce((sum, value) => sum + Math.abs(value), 0);
        expect(size).toBeGreaterThan(0);
        // A sum of all the places, each as exact as the network's operators are.
        expect(Math.abs(figures['completenessError']!), `${method} ${JSON.stringify(options)}`).toBeLessThanOrEqual(
          rounding * (size + Math.abs(total)),
        );
      }
    }
  });
});

describe('by hand', () => {
  const { classes, channels, height, width, hidden } = NET;
  const area = height * width;
  const CLASS = 3;
  const image = randomTensor(1, height, width, 5);
  const mapOf = (at: (channel: number, place: number) => number): number[] =>
    Array.from({ length: area }, (_, place) => [0, 1, 2].reduce((sum, channel) => sum + at(channel, place), 0));
  const pixel = (channel: number, place: number): number => image.data[channel * area + place]!;
  const ask = async (model: Model, method: GradientMethod, options: Options): Promise<Float32Array> =>
    (await explainWith(model, image, method, options, { targets: [CLASS], size: 'grid' }))[0]!.maps[0]!.data;

  it('a linear model: the weights times the differences', async () => {
    await using model = await loadNet('linear');
    const w = weights(classes * channels * area).slice(CLASS * channels * area);
    const from = (color: readonly number[]): number[] =>
      mapOf((channel, place) => (pixel(channel, place) - color[channel]!) * w[channel * area + place]!);
    expectWithin(await ask(model, 'deeplift', { baseline: COLOR }), from(COLOR), 6, 20);
    const all = [[0, 0, 0], [0.75, 0.75, 0.75], COLOR].map(from);
    const mean = all[0]!.map((_, place) => all.reduce((sum, map) => sum + map[place]!, 0) / 3);
    expectWithin(await ask(model, 'deeplift-shap', { baselines: SEVERAL }), mean, 12, 60);
    // One baseline is no mean.
    expectWithin(await ask(model, 'deeplift-shap', { baselines: COLOR }), from(COLOR), 6, 20);
  });

  it('squared pixels: the weights times the differences of squares', async () => {
    await using model = await loadNet('quadratic');
    const w = weights(classes * channels * area).slice(CLASS * channels * area);
    expectWithin(
      await ask(model, 'deeplift', { baseline: COLOR }),
      mapOf((channel, place) => (pixel(channel, place) ** 2 - COLOR[channel]! ** 2) * w[channel * area + place]!),
      10,
      30,
    );
  });

  it('one rectifier: the ratio of its differences', async () => {
    await using model = await loadNet('rectified');
    const mix = weights(hidden * channels);
    const w = weights(classes * hidden * area).slice(CLASS * hidden * area);
    const mixed = (unit: number, of: (channel: number) => number): number =>
      [0, 1, 2].reduce((sum, channel) => sum + mix[unit * channels + channel]! * of(channel), 0);
    const relu = (value: number): number => Math.max(value, 0);
    const expected = mapOf((channel, place) => {
      let multiplier = 0;
      for (let unit = 0; unit < hidden; unit++) {
        const [x, x0] = [mixed(unit, (c) => pixel(c, place)), mixed(unit, (c) => COLOR[c]!)];
        multiplier += (w[unit * area + place]! * mix[unit * channels + channel]! * (relu(x) - relu(x0))) / (x - x0);
      }
      return (pixel(channel, place) - COLOR[channel]!) * multiplier;
    });
    // The quotient of two differences loses what these do: they are of numbers up to 30, and 0.01 and more.
    expectWithin(await ask(model, 'deeplift', { baseline: COLOR }), expected, 60, 600);
  });
});

describe('baselines', () => {
  let model: Model;
  const image = randomTensor(1, 32, 48, 3);
  const other = randomTensor(2, 32, 48, 4);
  const ask = async (options: Options, method: GradientMethod = 'deeplift-shap'): Promise<Float32Array> =>
    (await explainWith(model, image, method, options, { targets: [1] }))[0]!.maps[0]!.data;

  beforeAll(async () => {
    model = await loadSmall('timm-resnet-traced');
  });
  afterAll(() => model.close());

  it('an image that equals its baseline has no map to give', async () => {
    const same = await ask({ baselines: { data: image.data, shape: [1, 3, 32, 48] } });
    expect(same.every((value) => value === 0)).toBe(true);
    const black = { data: new Float32Array(3 * 32 * 48), shape: [1, 3, 32, 48] };
    const [explained] = await explainWith(model, black, 'deeplift', {}, { targets: [1] });
    expect(explained!.maps[0]!.data.every((value) => value === 0)).toBe(true);
  });

  it('a batch of images is the mean of each alone', async () => {
    const size = 3 * 32 * 48;
    const alone = [0, 1].map((i) =>
      ask({ baselines: { data: other.data.slice(i * size, (i + 1) * size), shape: [1, 3, 32, 48] } }),
    );
    const [a, b] = await Promise.all(alone);
    const mean = a!.map((value, i) => (value + b![i]!) / 2);
    const together = async (of: Input): Promise<Float32Array> =>
      (
        await explainWith(
          model,
          of,
          'deeplift-shap',
          { baselines: { data: other.data, shape: [2, 3, 32, 48] } },
          { targets: [1] },
        )
      )[0]!.maps[0]!.data;
    await expectRounded(await together(image), mean, 'the mean', {
      model,
      again: (seed) => together(nudged(image, seed)),
    });
  });

  it('the seed decides the noise, and the number of samples its mean', async () => {
    const [one, again, two, more] = [
      await ask({ samples: 3 }),
      await ask({ samples: 3 }),
      await ask({ samples: 3, seed: 1 }),
      await ask({ samples: 4 }),
    ];
    expect(again).toEqual(one);
    expect(two).not.toEqual(one);
    expect(more).not.toEqual(one);
  });
});

describe('refusals', () => {
  it.each([
    ['deeplift', { baseline: 'gray' }, /^The option baseline of deeplift is wrong: 'zero', 'black'/],
    ['deeplift', { baseline: [0, 0] }, /The baseline has 2 numbers, but the model.s images have 3 channels/],
    ['deeplift', { channels: 'first' }, /channels of deeplift is wrong/],
    ['deeplift-shap', { samples: 0 }, /samples of deeplift-shap is wrong: a whole number from 1 to 100000/],
    ['deeplift-shap', { baselines: [] }, /baselines of deeplift-shap is wrong/],
    [
      'deeplift-shap',
      { baselines: { data: new Float32Array(3 * 32 * 32), shape: [1, 3, 32, 32] } },
      /^The baselines have the shape \[1, 3, 32, 32\], but the model's images ask for \[images, 3, 32, 48\]/,
    ],
  ] as const)('%s with %j', async (method, options, sentence) => {
    await using model = await loadSmall('timm-resnet-traced');
    const error = await explainWith(model, randomTensor(1, 32, 48), method, options).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'INVALID_OPTION' });
    expect((error as SightlineError).message).toMatch(sentence);
  });

  it.each([
    ['deeplift', false],
    ['attn-lrp', true],
  ] as const)('a run by the rule %s, with a baseline: %s', async (rule, hasBaseline) => {
    await using model = await loadSmall('timm-resnet-traced');
    const method = defineMethod({
      name: 'mine',
      options: z.strictObject({}),
      usesLayer: false,
      isClassSpecific: true,
      reasonAgainst: () => null,
      map: (of) => {
        const run = of.model.run(of.model.image, { rule, ...(hasBaseline && { baseline: of.model.image }) });
        return sum(grad(run.score, run.image), 'channels');
      },
    });
    await expect(model.explain(randomTensor(1, 32, 48), { method })).rejects.toMatchObject({
      message: expect.stringMatching(
        /mine gives a run by the rule 'deeplift' no baseline, or another run one/,
      ) as string,
    });
  });

  it.each(['deeplift', 'deeplift-shap'] as const)('%s of a score that is no logit', async (method) => {
    await using model = await loadSmall('timm-resnet-traced');
    await expect(
      explainWith(model, randomTensor(1, 32, 48), method, {}, { score: 'probability' }),
    ).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: `${method} shares out differences of logits, so it explains logits only; leave \`score\` out, or use integrated-gradients.`,
    });
  });
});
