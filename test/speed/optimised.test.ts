/** What `optimize` changes is the time, never the answer: both ways side by side, on every archive of test/parity. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { CaptureOptions, CapturedTensors, Model, Tensor } from '../../lib/index.js';
import { randomTensor } from '../support/models.js';
import { relativeDifference } from '../support/safetensors.js';
import { ARCHIVES, load } from './archives.js';

/** Of the largest value: float32 has 24 bits, and sums are taken in another order. */
const F32 = 1e-5;

/** First, middle and last nodes that can be tapped, and what methods tap by default. */
async function nodesOf(model: Model): Promise<string[]> {
  const { nodes, targetLayer, head } = await model.inspect();
  const names = nodes.filter(({ layout }) => layout !== 'other').map(({ name }) => name);
  const some = [0, 0.3, 0.6, 0.9].map((share) => names[Math.floor(share * names.length)]!);
  return [...new Set([...some, names.at(-1)!, ...(targetLayer ? [targetLayer] : []), ...(head ? [head.feature] : [])])];
}

function tensorsOf({ features, attention, query, key, value }: CapturedTensors): Map<string, Tensor> {
  const all = { features, attention, query, key, value } as unknown as Record<string, Record<string, Tensor>>;
  return new Map(Object.entries(all).flatMap(([kind, of]) => Object.entries(of).map(([name, tensor]) => [`${kind} ${name}`, tensor] as const)));
}

function expectClose(found: CapturedTensors, expected: CapturedTensors, tolerance: number): void {
  const [mine, theirs] = [tensorsOf(found), tensorsOf(expected)];
  expect([...mine.keys()]).toEqual([...theirs.keys()]);
  for (const [name, { data, shape }] of mine) {
    expect(shape, name).toEqual(theirs.get(name)!.shape);
    // A gradient that is zero by both ways has no scale of its own.
    const scale = theirs.get(name)!.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (scale < 1e-9) expect(data.every((value) => Math.abs(value) < 1e-9), name).toBe(true);
    else expect(relativeDifference(data, theirs.get(name)!.data), name).toBeLessThanOrEqual(tolerance);
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
    sites = inspection.attention.flatMap(({ opaque }, i) => (opaque === '' ? [i] : []));
  });
  afterAll(() => Promise.all([fast.close(), plain.close()]));

  const both = (images: ReturnType<typeof randomTensor>, options: CaptureOptions) => Promise.all([fast.capture(images, options), plain.capture(images, options)]);

  it('predicts the same, one image, two or five', async () => {
    if (!isScored) return;
    for (const count of [1, 2, 5]) {
      const images = randomTensor(count, height, width, 3 + count);
      const [found, expected] = await Promise.all([fast.predict(images), plain.predict(images)]);
      expect(found).toHaveLength(count);
      for (let i = 0; i < count; i++) expect(relativeDifference(found[i]!.logits.data, expected[i]!.logits.data), `image ${i} of ${count}`).toBeLessThanOrEqual(F32);
    }
  });

  it('captures the same features, one by one and together', async () => {
    const features = await nodesOf(plain);
    const images = randomTensor(2, height, width, 5);
    const [found, expected] = await both(images, { features });
    expectClose(found, expected, F32);
    for (const feature of features.slice(1, 4)) {
      const alone = await fast.capture(images, { features: [feature] });
      expect(relativeDifference(alone.features[feature]!.data, expected.features[feature]!.data), feature).toBeLessThanOrEqual(F32);
    }
  });

  it('captures the same gradients', async () => {
    if (isQuantized || !isScored) return;
    const features = await nodesOf(plain);
    for (const count of [1, 5]) {
      const images = randomTensor(count, height, width, 6);
      // Each node alone as well: what lies before it is packed, what lies behind is not.
      for (const some of [features, [features[0]!], [features.at(-2)!]]) {
        const [found, expected] = await both(images, { features: some, gradients: { target: 1 } });
        expect(relativeDifference(found.logits!.data, expected.logits!.data)).toBeLessThanOrEqual(F32);
        expectClose(found.gradients!, expected.gradients!, 5 * F32);
      }
    }
  });

  it('captures the same attention, queries, keys and values, with gradients', async () => {
    if (sites.length === 0) return;
    const images = randomTensor(2, height, width, 7);
    const last = [sites.at(-1)!];
    for (const options of [{ attention: sites, query: sites, key: sites, value: sites }, { attention: last }] as const) {
      const [found, expected] = await both(images, { ...options, ...(!isQuantized && { gradients: { target: 1 } }) });
      expectClose(found, expected, F32);
      if (!isQuantized) expectClose(found.gradients!, expected.gradients!, 5 * F32);
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
      found.forEach(({ logits }, i) => expect(relativeDifference(logits.data, expected[i]!.logits.data)).toBeLessThanOrEqual(F32));
    }
    const features = [(await nodesOf(plain))[0]!];
    const [found, expected] = await both(images, { features });
    expectClose(found, expected, F32);
  });
});

it('was tried at another size on several kinds of models', () => {
  expect([...takenSizes].some((name) => name.includes('resnet'))).toBe(true);
  expect(takenSizes.size).toBeGreaterThanOrEqual(6);
});
