import { afterEach, describe, expect, it } from 'vitest';

import {
  Model,
  stats,
  type Explanation,
  type HeatMap,
  type LoadOptions,
  type MethodName,
  type NamedOptions,
} from '../../lib/index.js';
import { expectRounded, nudged } from '../support/rounding.js';
import { cardOf, CNN, fence, gate, imageOf, imagesOf, until, VIT, type TestModel } from './models.js';

const open: Model[] = [];
async function load(of: TestModel, options: LoadOptions = {}): Promise<Model> {
  const model = await Model.load(of.path, { device: 'cpu', card: cardOf(of), ...options });
  open.push(model);
  return model;
}
afterEach(async () => {
  await Promise.all(open.splice(0).map((model) => model.close()));
  expect(stats()).toMatchObject({ models: 0, weightBytes: 0, queued: 0, running: 0 });
});

type AnyExplanation = Explanation<MethodName, unknown>;
const mapsOf = (results: readonly AnyExplanation[]): readonly HeatMap[] => results.flatMap(({ maps }) => [...maps]);

/**
 * The same maps, as far as rounding tells: a product of many rows is summed in another order than one of few.
 *
 * @param ask explains the images of `expected` anew, moved by a seed
 */
async function expectSameMaps(
  found: readonly AnyExplanation[],
  expected: readonly AnyExplanation[],
  model: Model,
  ask: (seed: number) => Promise<readonly AnyExplanation[]>,
): Promise<void> {
  const [these, those] = [mapsOf(found), mapsOf(expected)];
  expect(these.length).toBe(those.length);
  for (const [i, map] of these.entries()) {
    expect(map.target.index).toBe(those[i]!.target.index);
    const scoresOf = (maps: readonly HeatMap[]): number[] => [maps[i]!.target.score];
    await expectRounded(scoresOf(those), scoresOf(these), `score ${i}`, {
      model,
      again: async (seed) => scoresOf(mapsOf(await ask(seed))),
    });
    await expectRounded(those[i]!.data, map.data, `map ${i}`, {
      model,
      again: async (seed) => mapsOf(await ask(seed))[i]!.data,
    });
  }
}

/** To the bit: the same call twice. */
function expectEqualMaps(found: readonly AnyExplanation[], expected: readonly AnyExplanation[]): void {
  expect(mapsOf(found).map(({ data, target }) => [data, target])).toEqual(
    mapsOf(expected).map(({ data, target }) => [data, target]),
  );
}

/**
 * Keeps the engine busy while `submit` is called, until `count` images wait; then lets all go. Says how many batches
 * they made.
 */
async function allAtOnce<T>(
  model: Model,
  of: TestModel,
  count: number,
  submit: () => Promise<T>[],
): Promise<{ results: T[]; batches: number }> {
  const { method, started } = gate();
  const abort = new AbortController();
  const blocking = model
    .explain(imagesOf(of, 1), { method, signal: abort.signal, memory: 1 })
    .catch(({ code }: { code: string }) => code);
  await started();
  const fenced = fence(model, of);
  const works = submit();
  await until(`${count} images in the queue`, () => stats().queued === count);
  const before = stats().batches;
  abort.abort();
  expect(await blocking).toBe('ABORTED');
  await fenced;
  const results = await Promise.all(works);
  return { results, batches: stats().batches - before };
}

describe('requests that wait', () => {
  it('are gathered into batches of at most maxBatch', async () => {
    const model = await load(VIT, { maxBatch: 8 });
    const images = imagesOf(VIT, 20);
    const { results, batches } = await allAtOnce(model, VIT, 20, () =>
      Array.from({ length: 20 }, (_, i) => model.explain(imageOf(images, i), { method: 'gae', raw: true })),
    );
    expect(results).toHaveLength(20);
    expect(batches).toBe(3);
  });

  it('of other methods, options, sizes and models are not mixed, and each gets its own answer', async () => {
    const [vit, cnn] = await Promise.all([load(VIT), load(CNN)]);
    const [small, large] = [imagesOf(CNN, 4), imagesOf({ height: 48, width: 80 }, 4, 9)];
    const images = imagesOf(VIT, 4);
    const asks: { readonly model: Model; readonly ask: (seed?: number) => Promise<AnyExplanation[]> }[] = [
      0, 1, 2, 3,
    ].flatMap((i) => [
      { model: vit, ask: (seed = 0) => vit.explain(nudged(imageOf(images, i), seed), { method: 'gae', raw: true }) },
      {
        model: vit,
        ask: (seed = 0) => vit.explain(nudged(imageOf(images, i), seed), { method: 'attention-rollout', raw: true }),
      },
      {
        model: vit,
        ask: (seed = 0) =>
          vit.explain(nudged(imageOf(images, i), seed), { method: 'attention-rollout', discardRatio: 0.5, raw: true }),
      },
      {
        model: vit,
        ask: (seed = 0) =>
          vit.explain(nudged(imageOf(images, i), seed), { method: 'gae', raw: true, targets: ['top2'] }),
      },
      {
        model: cnn,
        ask: (seed = 0) => cnn.explain(nudged(imageOf(small, i), seed), { method: 'grad-cam', raw: true }),
      },
      {
        model: cnn,
        ask: (seed = 0) => cnn.explain(nudged(imageOf(large, i), seed), { method: 'grad-cam', raw: true }),
      },
    ]);
    const alone: AnyExplanation[][] = [];
    for (const { ask } of asks) alone.push(await ask());
    const { results, batches } = await allAtOnce(vit, VIT, 24, () => asks.map(({ ask }) => ask()));
    expect(batches).toBe(6);
    for (const [i, result] of results.entries()) await expectSameMaps(result, alone[i]!, asks[i]!.model, asks[i]!.ask);
  });

  it('wait up to maxDelay for more', async () => {
    // Far longer than the second takes to come, on any machine; the batch is full with it.
    const model = await load(VIT, { maxDelay: 60_000, maxBatch: 2 });
    // The size's graph is read before, so that the two below find the engine idle.
    await model.explain(imagesOf(VIT, 2), { method: 'gae' });
    const before = stats().batches;
    const first = model.explain(imagesOf(VIT, 1), { method: 'gae' });
    await until('the first to be taken up', () => stats().running === 1);
    await Promise.all([first, model.explain(imagesOf(VIT, 1, 2), { method: 'gae' })]);
    expect(stats().batches - before).toBe(1);
  });

  it('do not wait for more when the batch is full or the model is closed', async () => {
    const started = performance.now();
    // Nor does loading, which runs one image.
    const model = await load(VIT, { maxDelay: 60_000, maxBatch: 2 });
    await model.explain(imagesOf(VIT, 2), { method: 'gae' });
    expect(performance.now() - started).toBeLessThan(60_000);
  });
});

describe('a batch equals its singles', () => {
  it.each<[string, TestModel, NamedOptions<MethodName>]>([
    ['grad-cam on a CNN', CNN, { method: 'grad-cam', raw: true }],
    ['cam on a CNN', CNN, { method: 'cam', raw: true }],
    ['grad-cam on a ViT', VIT, { method: 'grad-cam', raw: true }],
    ['attention-rollout', VIT, { method: 'attention-rollout', headFusion: 'max', discardRatio: 0.5, raw: true }],
    ['gradient-rollout', VIT, { method: 'gradient-rollout', raw: true }],
    ['gae of two classes', VIT, { method: 'gae', targets: ['top2'], raw: true }],
  ])('%s', async (_, of, options) => {
    const model = await load(of);
    const images = imagesOf(of, 8);
    const before = stats().batches;
    const together: AnyExplanation[] = await model.explain(images, options);
    expect(stats().batches - before).toBe(1);
    const eachAlone = async (seed = 0): Promise<AnyExplanation[]> => {
      const alone: AnyExplanation[] = [];
      for (let i = 0; i < 8; i++) alone.push(...(await model.explain(imageOf(nudged(images, seed), i), options)));
      return alone;
    };
    const alone = await eachAlone();
    expect(stats().batches - before).toBe(9);
    await expectSameMaps(together, alone, model, eachAlone);
    // Were all maps the same, the above would say nothing.
    expect(new Set(mapsOf(together).map(({ max }) => max)).size).toBe(mapsOf(together).length);
  });

  it('captured features and gradients, too', async () => {
    const model = await load(CNN);
    const images = imagesOf(CNN, 5);
    const options = { features: ['layer1', 'layer3'], gradients: { target: 2 } } as const;
    const together = await model.capture(images, options);
    for (let i = 0; i < 5; i++) {
      const capture = (seed = 0) => model.capture(nudged(imageOf(images, i), seed), options);
      const alone = await capture();
      for (const name of options.features) {
        for (const of of [
          ({ features }: typeof alone) => features[name]!,
          ({ gradients }: typeof alone) => gradients!.features[name]!,
        ]) {
          const { data: one } = of(alone);
          await expectRounded(one, of(together).data.subarray(i * one.length, (i + 1) * one.length), name, {
            model,
            again: async (seed) => of(await capture(seed)).data,
          });
        }
      }
    }
  });
});

describe('one call', () => {
  it('with several targets equals separate calls', async () => {
    const model = await load(VIT);
    const images = imagesOf(VIT, 3);
    const before = stats().batches;
    const together: AnyExplanation[] = await model.explain(images, {
      method: 'gae',
      targets: [0, 4, 'top1', 6],
      raw: true,
    });
    expect(stats().batches - before).toBe(1);
    for (const [t, target] of ([0, 4, 'top1', 6] as const).entries()) {
      const ask = (seed = 0): Promise<AnyExplanation[]> =>
        model.explain(nudged(images, seed), { method: 'gae', targets: [target], raw: true });
      await expectSameMaps(
        together.map((each) => ({ ...each, maps: [each.maps[t]!] })),
        await ask(),
        model,
        ask,
      );
    }
  });

  it('gives each image its own targets', async () => {
    const model = await load(CNN);
    const images = imagesOf(CNN, 3);
    const inputs = [0, 1, 2].map((i) => imageOf(images, i));
    // Of different numbers, so that they cannot all share a batch.
    const targets = [[1, 5], ['top1'], [3, 'top1', 0]] as const;
    const results = await model.explain(inputs, { method: 'grad-cam', targets, raw: true });
    expect(results.map(({ maps }) => maps.length)).toEqual([2, 1, 3]);
    for (const [i, own] of targets.entries()) {
      const ask = (seed = 0): Promise<AnyExplanation[]> =>
        model.explain(nudged(inputs[i]!, seed), { method: 'grad-cam', targets: [...own], raw: true });
      await expectSameMaps([results[i]!], await ask(), model, ask);
    }
  });

  it('takes images of different sizes', async () => {
    const model = await load(CNN);
    const sizes = [
      { height: 64, width: 64 },
      { height: 48, width: 80 },
      { height: 64, width: 64 },
      { height: 96, width: 32 },
    ];
    const inputs = sizes.map((size, i) => imagesOf(size, 1, i + 1));
    const results = await model.explain(inputs, { method: 'grad-cam', raw: true });
    expect(results.map(({ maps }) => maps[0]!.shape)).toEqual(sizes.map(({ height, width }) => [height, width]));
    for (const [i, input] of inputs.entries()) {
      const ask = (seed = 0): Promise<AnyExplanation[]> =>
        model.explain(nudged(input, seed), { method: 'grad-cam', raw: true });
      await expectSameMaps([results[i]!], await ask(), model, ask);
    }
  });

  it('takes more images than a window holds, in their order', async () => {
    const model = await load(VIT, { maxBatch: 4 });
    const images = imagesOf(VIT, 70);
    const results: AnyExplanation[] = await model.explain(images, { method: 'gae', raw: true });
    expect(results).toHaveLength(70);
    for (const i of [0, 15, 16, 33, 69]) {
      const ask = (seed = 0): Promise<AnyExplanation[]> =>
        model.explain(nudged(imageOf(images, i), seed), { method: 'gae', raw: true });
      await expectSameMaps([results[i]!], await ask(), model, ask);
    }
  });

  it('keeps what was passed in, though the caller overwrites it once the call has returned', async () => {
    const model = await load(CNN);
    const images = imagesOf(CNN, 1);
    const expected = await model.explain(imagesOf(CNN, 1), { method: 'grad-cam', raw: true });
    const work = model.explain(images, { method: 'grad-cam', raw: true });
    images.data.fill(0);
    expectEqualMaps(await work, expected);
  });
});

it('two models work at once, each on its own weights', async () => {
  const [first, second, vit] = await Promise.all([load(CNN), load(CNN), load(VIT)]);
  expect(stats().models).toBe(3);
  const images = imagesOf(CNN, 6);
  const [a, b, c]: AnyExplanation[][] = await Promise.all([
    first.explain(images, { method: 'grad-cam', raw: true }),
    second.explain(images, { method: 'grad-cam', raw: true }),
    vit.explain(imagesOf(VIT, 6), { method: 'gae', raw: true }),
  ]);
  await expectSameMaps(a!, b!, second, (seed) =>
    second.explain(nudged(images, seed), { method: 'grad-cam', raw: true }),
  );
  expect(c).toHaveLength(6);
});
