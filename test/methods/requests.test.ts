import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { defineMethod, symbolic, type Model } from '../../lib/index.js';
import { expectRounded, expectUnlike, expectWithin, nudged, ROUNDOFF } from '../support/rounding.js';
import { loadSmall, randomTensor } from '../support/models.js';

const { abs, flip, grad, max, mean, power, select, softmax, sum, variable } = symbolic;

/** The gradient's absolute values, to see what a score is. */
const gradient = defineMethod({
  name: 'test-gradient',
  options: z.strictObject({}),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: () => null,
  map: ({ model }) => mean(grad(model.output.score, model.output.image), 'channels'),
});

/** What one layer's channels sum to. */
const activation = defineMethod({
  name: 'test-activation',
  options: z.strictObject({}),
  usesLayer: true,
  isClassSpecific: false,
  reasonAgainst: () => null,
  map: ({ model, layer }) => sum(model.spatial(model.output.feature(layer), layer), 'channels'),
});

const raw = { size: 'grid', raw: true } as const;
const unit = (data: Float32Array): Float32Array => {
  const [low, high] = [Math.min(...data), Math.max(...data)];
  return data.map((value) => (value - low) / (high - low));
};

describe('what of the model is explained', () => {
  let model: Model;
  const image = randomTensor(1, 32, 48, 3);
  const mapOf = async (options: object, seed = 0): Promise<Float32Array> =>
    (await model.explain(nudged(image, seed), { method: gradient, ...raw, ...options }))[0]!.maps[0]!.data;

  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());

  it('a difference of two classes is the difference of their gradients', async () => {
    const [of, against] = [await mapOf({ targets: [2] }), await mapOf({ targets: [5] })];
    const difference = (seed?: number) => mapOf({ targets: [{ of: 2, against: 5 }] }, seed);
    await expectRounded(
      await difference(),
      of.map((value, i) => value - against[i]!),
      'the difference',
      { model, again: difference },
    );
  });

  it('a difference can be between ranks, and says which classes they were', async () => {
    const [explained] = await model.explain(image, {
      method: gradient,
      targets: [{ of: 'rank1', against: 'rank2' }, 'top1'],
    });
    const [first, second] = explained!.predictions;
    expect(explained!.maps[0]!.target).toMatchObject({ index: first!.index, against: { index: second!.index } });
    // A softmax of the same logits: seven exponentials, their sum and a quotient, there and here.
    expect(Math.abs(explained!.maps[0]!.target.against!.score - second!.score)).toBeLessThanOrEqual(2 * 9 * ROUNDOFF);
    expect(explained!.maps[1]!.target.against).toBeUndefined();
    const named = async (seed = 0): Promise<Float32Array> =>
      (
        await model.explain(nudged(image, seed), {
          method: gradient,
          targets: [{ of: first!.index, against: second!.index }],
        })
      )[0]!.maps[0]!.data;
    await expectRounded(await named(), explained!.maps[0]!.data, 'by name', { model, again: named });
  });

  it('a difference by cam takes the difference of the weights', async () => {
    const cam = async (seed = 0): Promise<Float32Array[]> =>
      (
        await model.explain(nudged(image, seed), { method: 'cam', targets: [1, 4, { of: 1, against: 4 }], ...raw })
      )[0]!.maps.map(({ data }) => data);
    const [of, against, difference] = await cam();
    await expectRounded(
      difference!,
      of!.map((value, i) => value - against![i]!),
      'the difference',
      { model, again: async (seed) => (await cam(seed))[2]! },
    );
  });

  it('a probability has the gradient of the softmax', async () => {
    const [explained] = await model.explain(image, { method: gradient, ...raw, targets: [0, 1, 2, 3, 4, 5, 6] });
    const logits = explained!.maps.map(({ data }) => data);
    const p = explained!.maps.map(({ target }) => target.score);
    // d p_c = p_c (d y_c - sum over k of p_k d y_k)
    const expected = logits[3]!.map(
      (_, i) => p[3]! * (logits[3]![i]! - p.reduce((total, pk, k) => total + pk * logits[k]![i]!, 0)),
    );
    const probability = (seed?: number) => mapOf({ targets: [3], score: 'probability' }, seed);
    await expectRounded(await probability(), expected, 'a probability', { model, again: probability });
  });

  it('a score of the user’s own is any scalar of a run', async () => {
    const weighted = (seed?: number) =>
      mapOf(
        {
          score: ({ logits }: symbolic.Run) =>
            select(logits, 'classes', 2)
              .mul(2)
              .sub(select(logits, 'classes', 5)),
        },
        seed,
      );
    const [of, against] = [await mapOf({ targets: [2] }), await mapOf({ targets: [5] })];
    await expectRounded(
      await weighted(),
      of.map((value, i) => 2 * value - against[i]!),
      'a weighted difference',
      { model, again: weighted },
    );
    const [explained] = await model.explain(image, {
      method: gradient,
      score: ({ logits }) => max(softmax(logits, 'classes'), 'classes'),
    });
    expect(explained!.maps).toHaveLength(1);
    expect(explained!.maps[0]!.target).toEqual({ index: -1, label: 'score', score: explained!.predictions[0]!.score });
  });

  it.each([
    [
      'a score with an axis too many',
      { method: gradient, score: ({ logits }: symbolic.Run) => logits },
      /one value per image, \[batch\], but the function returned \[batch, classes\]/,
    ],
    ['a score that is no value', { method: gradient, score: () => 3 as never }, /but the function returned number/],
    [
      'a score that reads itself',
      { method: gradient, score: ({ score }: symbolic.Run) => score },
      /which is what it is to give/,
    ],
    ['a score of another name', { method: gradient, score: 'odds' as never }, /'logit', 'probability' or a function/],
    ['a score for a method without one', { method: activation, score: 'probability' as const }, /explains no score/],
    ['a probability by cam', { method: 'cam' as const, score: 'probability' as const }, /explains logits only/],
    [
      'a class compared with itself',
      { method: gradient, targets: [{ of: 3, against: 3 }] },
      /compares the class 3 with itself/,
    ],
    ['a difference of several', { method: gradient, targets: [{ of: 'top3', against: 3 }] }, /stands for 3 classes/],
    ['fusion of one layer', { method: activation, layer: 'layer4', fusion: 'max' as const }, /at least two/],
    ['an unknown fusion', { method: activation, layer: ['layer3', 'layer4'], fusion: 'median' as never }, /fusion/],
    ['fusion for a method without layers', { method: gradient, fusion: 'max' }, /no option "fusion"/],
  ])('refuses %s in one sentence', async (_, options, sentence) => {
    const refused = model.explain(image, options as never);
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await expect(refused).rejects.toThrow(sentence);
  });
});

describe('several layers and augmentations', () => {
  let model: Model;
  const image = randomTensor(2, 32, 48, 5);

  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());

  it.each(['mean', 'max', 'product'] as const)('fuses layers by %s after bringing each to [0, 1]', async (fusion) => {
    const layers = ['layer3', 'layer4'];
    const single = await Promise.all(
      layers.map(
        async (layer) => (await model.explain(image, { method: activation, layer, raw: true }))[1]!.maps[0]!.data,
      ),
    );
    const [a, b] = single.map(unit) as [Float32Array, Float32Array];
    const fuse = {
      mean: (x: number, y: number) => (x + y) / 2,
      max: Math.max,
      product: (x: number, y: number) => x * y,
    }[fusion];
    const fused = async (seed = 0): Promise<Float32Array> =>
      (await model.explain(nudged(image, seed), { method: activation, layer: layers, fusion, raw: true }))[1]!.maps[0]!
        .data;
    await expectRounded(
      await fused(),
      a.map((value, i) => fuse(value, b[i]!)),
      fusion,
      { model, again: fused },
    );
  });

  it('smooths over mirror images and brightness', async () => {
    const smoothed = async (seed = 0): Promise<Float32Array> =>
      (
        await model.explain(nudged(image, seed), {
          method: 'grad-cam',
          targets: [3],
          augmentationSmoothing: true,
          raw: true,
        })
      )[0]!.maps[0]!.data;
    const expected = new Float32Array(32 * 48);
    for (const mirrored of [false, true]) {
      for (const factor of [0.9, 1, 1.1]) {
        const data = image.data
          .slice(0, 3 * 32 * 48)
          .map((_, i, all) => factor * all[mirrored ? i - (i % 48) + 47 - (i % 48) : i]!);
        const [one] = await model.explain({ data, shape: [1, 3, 32, 48] }, { method: 'grad-cam', targets: [3] });
        const map = one!.maps[0]!.data;
        expected.forEach((_, i) => (expected[i]! += map[mirrored ? i - (i % 48) + 47 - (i % 48) : i]! / 6));
      }
    }
    await expectRounded(await smoothed(), expected, 'the mean of mirror images', { model, again: smoothed });
  });
});

describe('models that return no class scores', () => {
  const image = randomTensor(2, 8, 8, 7);

  it('a mask’s sum', async () => {
    await using model = await loadSmall('linear-mask');
    expect((await model.inspect()).outputShape).toEqual([1, 2, 8, 8]);
    const whole = ({ output }: symbolic.Run): symbolic.Value => sum(select(output, 'classes', 0), ['height', 'width']);
    const [explained] = await model.explain(image, { method: gradient, score: whole, ...raw });
    // The mean over channels of the weights 1, -2 and 3, everywhere.
    // Weights that are whole and a sum of whole numbers round nothing; the division does, or one over three and the
    // product.
    expectWithin(explained!.maps[0]!.data, new Array<number>(64).fill(2 / 3), 2, 1);
    expect(explained!.predictions).toEqual([]);
    const pixel = ({ output }: symbolic.Run): symbolic.Value =>
      select(select(select(output, 'classes', 1), 'height', 2), 'width', 5);
    const [placed] = await model.explain(image, { method: gradient, score: pixel, ...raw });
    const expected = Array.from({ length: 64 }, (_, i) => (i === 2 * 8 + 5 ? -0.5 / 3 : 0));
    expectWithin(placed!.maps[0]!.data, expected, 2, (place) => Math.abs(expected[place]!));
  });

  it('a box’s score', async () => {
    await using model = await loadSmall('linear-boxes');
    const score = ({ output }: symbolic.Run): symbolic.Value => select(select(output, 'boxes', 3), 'values', 4);
    const [explained] = await model.explain(image, { method: gradient, score, ...raw });
    // Box 3 is the cell at the lower right.
    explained!.maps[0]!.data.forEach((value, i) => expect(value !== 0).toBe(Math.floor(i / 8) >= 4 && i % 8 >= 4));
    expect(explained!.maps[0]!.target.label).toBe('score');
  });

  it('asks for a score', async () => {
    await using model = await loadSmall('linear-mask');
    await expect(model.explain(image, { method: gradient })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringContaining('say what to explain') as string,
    });
  });
});

describe('steps that run the model in parts', () => {
  it('resumes a run with a feature replaced, for many samples at once', async () => {
    await using model = await loadSmall('torchvision-resnet-traced');
    const image = randomTensor(2, 32, 48, 9);
    const layer = 'layer3';
    // The logit with the whole layer scaled by 0, 1, 2: with 1 it is the plain logit.
    const scaled = defineMethod({
      name: 'test-resume',
      options: z.strictObject({}),
      usesLayer: false,
      isClassSpecific: true,
      reasonAgainst: () => null,
      map: ({ model: seen }) => {
        const feature = seen.output.feature(layer);
        const scores = symbolic.concatenate(
          feature,
          3,
          (sample) => seen.resume([{ of: feature, to: feature.mul(sample) }]).score,
        );
        return symbolic.split(scores, 'sample', { height: 1, width: 3 });
      },
    });
    const targets = [3];
    const explain = (seed = 0, memory?: number) =>
      model.explain(nudged(image, seed), { method: scaled, targets, ...raw, ...(memory && { memory }) });
    const both = await explain();
    const logits = (await model.capture(image, { features: ['fc'] })).features['fc']!.data;
    for (const i of [0, 1]) {
      const [none, once, twice] = both[i]!.maps[0]!.data;
      await expectRounded([once!], [logits[i * 7 + 3]!], 'the logit', {
        model,
        again: async (seed) => [(await explain(seed))[i]!.maps[0]!.data[1]!],
      });
      await expectUnlike([none!], [once!], 'a layer of zeros', model);
      await expectUnlike([twice!], [once!], 'a layer twice as large', model);
    }
    const chunked = await explain(0, 1);
    expect(chunked[0]!.chunk).toBe(1);
    expect(both[0]!.chunk).toBe(3);
    await expectRounded(chunked[1]!.maps[0]!.data, both[1]!.maps[0]!.data, 'in chunks', {
      model,
      again: async (seed) => (await explain(seed, 1))[1]!.maps[0]!.data,
    });
  });

  it('differentiates through a resumed run, and twice', async () => {
    await using model = await loadSmall('torchvision-resnet-traced');
    const image = randomTensor(1, 32, 48, 10);
    const through = (resumed: boolean) =>
      defineMethod({
        name: 'test-through',
        options: z.strictObject({}),
        usesLayer: false,
        isClassSpecific: true,
        reasonAgainst: () => null,
        map: ({ model: seen }) => {
          const [early, late] = [seen.output.feature('layer2'), seen.output.feature('layer3')];
          const { score } = resumed ? seen.resume([{ of: late, to: late }]) : seen.output;
          return sum(grad(score, early), 'channels');
        },
      });
    const [whole] = await model.explain(image, { method: through(false), targets: [1], ...raw });
    const parts = async (seed = 0): Promise<Float32Array> =>
      (await model.explain(nudged(image, seed), { method: through(true), targets: [1], ...raw }))[0]!.maps[0]!.data;
    await expectRounded(await parts(), whole!.maps[0]!.data, 'in parts', { model, again: parts });

    // d/dx of the sum of (d/dx of the sum of x^3) is 6 x.
    const second = defineMethod({
      name: 'test-second',
      options: z.strictObject({}),
      usesLayer: false,
      isClassSpecific: false,
      reasonAgainst: () => null,
      map: ({ model: seen }) => {
        const x = variable(seen.image);
        const all = ['channels', 'height', 'width'];
        const first = grad(sum(power(x, 3), all), x, { differentiable: true });
        return select(grad(sum(first, all), x), 'channels', 1);
      },
    });
    const [twice] = await model.explain(image, { method: second, ...raw });
    const colour = [...image.data.slice(32 * 48, 2 * 32 * 48)];
    expectWithin(
      twice!.maps[0]!.data,
      colour.map((x) => 6 * x),
      4, // powers, 3 and 2 are each a product, and the gradient's one more
      (place) => 6 * Math.abs(colour[place]!),
    );
  });

  it('takes gradients of a run with respect to what its image was made of', async () => {
    await using model = await loadSmall('torchvision-resnet-traced');
    const image = randomTensor(1, 32, 48, 12);
    const mirrored = defineMethod({
      name: 'test-variable',
      options: z.strictObject({}),
      usesLayer: false,
      isClassSpecific: true,
      reasonAgainst: () => null,
      map: ({ model: seen }) => {
        const x = variable(seen.image);
        return mean(abs(grad(seen.run(flip(flip(x, 'width').mul(1), 'width').mul(2)).score, x)), 'channels');
      },
    });
    const direct = defineMethod({
      ...mirrored,
      map: ({ model: seen }) => {
        const run = seen.run(seen.image.mul(2));
        return mean(abs(grad(run.score, run.image)), 'channels').mul(2);
      },
    });
    const found = async (seed = 0): Promise<Float32Array> =>
      (await model.explain(nudged(image, seed), { method: mirrored, targets: [2], ...raw }))[0]!.maps[0]!.data;
    const [expected] = await model.explain(image, { method: direct, targets: [2], ...raw });
    await expectRounded(await found(), expected!.maps[0]!.data, 'mirrored twice', { model, again: found });
  });
});
