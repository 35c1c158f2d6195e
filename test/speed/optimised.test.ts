/** What `optimize` changes is the time, never the answer: both ways side by side, on every archive of test/parity. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { CaptureOptions, CapturedTensors, Model, Tensor } from '../../lib/index.js';
import { randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';
import { ARCHIVES, load } from './archives.js';

/** First, middle and last nodes that can be tapped, and what methods tap by default. */
async function nodesOf(model: Model): Promise<string[]> {
  const { nodes, targetLayer, head } = await model.inspect();
  const names = nodes.filter(({ layout }) => layout !== 'other').map(({ name }) => name);
  const some = [0, 0.3, 0.6, 0.9].map((share) => names[Math.floor(share * names.length)]!);
  return [...new Set([...some, names.at(-1)!, ...(targetLayer ? [targetLayer] : []), ...(head ? [head.feature] : [])])];
}

function tensorsOf({ features, attention, query, key, value }: CapturedTensors): Map<string, Tensor> {
  const all = { features, attention, query, key, value } as unknown as Record<string, Record<string, Tensor>>;
  return new Map(
    Object.entries(all).flatMap(([kind, of]) =>
      Object.entries(of).map(([name, tensor]) => [`${kind} ${name}`, tensor] as const),
    ),
  );
}

/** Every tensor, as far as rounding tells; `again` captures anew from images moved by a seed. */
async function expectClose(
  found: CapturedTensors,
  expected: CapturedTensors,
  model: Model,
  again: (seed: number) => Promise<CapturedTensors>,
): Promise<void> {
  const [mine, theirs] = [tensorsOf(found), tensorsOf(expected)];
  expect([...mine.keys()]).toEqual([...theirs.keys()]);
  for (const [name, { data, shape }] of mine) {
    expect(shape, name).toEqual(theirs.get(name)!.shape);
    await expectRounded(theirs.get(name)!.data, data, name, {
      model,
      again: async (seed) => tensorsOf(await again(seed)).get(name)!.data,
    });
  }
}

const takenSizes = new Set<string>();

describe.each(ARCHIVES)('$name', (archive) => {
  const { height, width, name } = archive;
  let fast: Model;
  let plain: Model;
  let isQuantized = false;
  let isScored = true;
  let sites: number[] = [];

  beforeAll(async () => {
    [fast, plain] = await Promise.all([load(archive), load(archive, { optimize: false })]);
    const inspection = await plain.inspect();
    isQuantized = inspection.isQuantized;
    isScored = inspection.classes > 0;
    sites = inspection.attention.flatMap(({ unsupported }, i) => (unsupported === '' ? [i] : []));
  });
  afterAll(() => Promise.all([fast.close(), plain.close()]));

  const both = (images: ReturnType<typeof randomTensor>, options: CaptureOptions) =>
    Promise.all([fast.capture(images, options), plain.capture(images, options)]);

  it('predicts the same, one image, two or five', async () => {
    if (!isScored) return;
    for (const count of [1, 2, 5]) {
      const images = randomTensor(count, height, width, 3 + count);
      const [found, expected] = await Promise.all([fast.predict(images), plain.predict(images)]);
      expect(found).toHaveLength(count);
      for (let i = 0; i < count; i++) {
        const again = async (seed: number): Promise<ArrayLike<number>> =>
          (await plain.predict(nudged(images, seed)))[i]!.logits.data;
        await expectRounded(expected[i]!.logits.data, found[i]!.logits.data, `image ${i} of ${count}`, {
          model: plain,
          again,
        });
      }
    }
  });

  it('captures the same features, one by one and together', async () => {
    const features = await nodesOf(plain);
    const images = randomTensor(2, height, width, 5);
    const [found, expected] = await both(images, { features });
    const again = (seed: number) => plain.capture(nudged(images, seed), { features });
    await expectClose(found, expected, plain, again);
    for (const feature of features.slice(1, 4)) {
      const alone = await fast.capture(images, { features: [feature] });
      await expectRounded(expected.features[feature]!.data, alone.features[feature]!.data, feature, {
        model: plain,
        again: async (seed) => (await again(seed)).features[feature]!.data,
      });
    }
  });

  it('captures the same gradients', async () => {
    if (isQuantized || !isScored) return;
    const features = await nodesOf(plain);
    for (const count of [1, 5]) {
      const images = randomTensor(count, height, width, 6);
      // Each node alone as well: what lies before it is packed, what lies behind is not.
      for (const some of [features, [features[0]!], [features.at(-2)!]]) {
        const options = { features: some, gradients: { target: 1 } };
        const [found, expected] = await both(images, options);
        const again = (seed: number) => plain.capture(nudged(images, seed), options);
        await expectRounded(expected.logits!.data, found.logits!.data, 'logits', {
          model: plain,
          again: async (seed) => (await again(seed)).logits!.data,
        });
        await expectClose(found.gradients!, expected.gradients!, plain, async (seed) => (await again(seed)).gradients!);
      }
    }
  });

  it('captures the same attention, queries, keys and values, with gradients', async () => {
    if (sites.length === 0) return;
    const images = randomTensor(2, height, width, 7);
    const last = [sites.at(-1)!];
    for (const options of [
      { attention: sites, query: sites, key: sites, value: sites },
      { attention: last },
    ] as const) {
      const request = { ...options, ...(!isQuantized && { gradients: { target: 1 } }) };
      const [found, expected] = await both(images, request);
      const again = (seed: number) => plain.capture(nudged(images, seed), request);
      await expectClose(found, expected, plain, again);
      if (!isQuantized) {
        await expectClose(found.gradients!, expected.gradients!, plain, async (seed) => (await again(seed)).gradients!);
      }
    }
  });

  it('does so at another size, where the model takes one', async () => {
    const size = { height: height * 2, width: width * 2 };
    try {
      await plain.inspect(size);
    } catch (error) {
      expect((error as { code: string }).code).toMatch(/INVALID_INPUT|UNSUPPORTED_MODEL/);
      return;
    }
    takenSizes.add(name);
    const images = randomTensor(2, size.height, size.width, 8);
    // Back and forth: weights that were prepared for one size serve the other.
    for (const tensor of [images, randomTensor(2, height, width, 9), images]) {
      const [found, expected] = isScored ? await Promise.all([fast.predict(tensor), plain.predict(tensor)]) : [[], []];
      for (const [i, { logits }] of found.entries()) {
        const again = async (seed: number): Promise<ArrayLike<number>> =>
          (await plain.predict(nudged(tensor, seed)))[i]!.logits.data;
        await expectRounded(expected[i]!.logits.data, logits.data, `image ${i}`, { model: plain, again });
      }
    }
    const features = [(await nodesOf(plain))[0]!];
    const [found, expected] = await both(images, { features });
    await expectClose(found, expected, plain, (seed) => plain.capture(nudged(images, seed), { features }));
  });
});

it('was tried at another size on several kinds of models', () => {
  expect([...takenSizes].some((name) => name.includes('resnet'))).toBe(true);
  expect(takenSizes.size).toBeGreaterThanOrEqual(6);
});
