/** Every method gives the same map on a tuned graph as on the archive's own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { METHOD_NAMES, type ExplainOptions, type MethodName, type Model } from '../../lib/index.js';
import { FEW_SAMPLES } from '../support/few-samples.js';
import { randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';
import { relativeDifference } from '../support/safetensors.js';
import { archive, load } from './archives.js';

const ARCHIVES = [
  'torchvision-resnet-traced',
  'timm-vit-fused-traced',
  'timm-deit-distilled-traced',
  'timm-swin-traced',
  'timm-vit-average-traced',
] as const;

/**
 * With peers' formulas as well. Quotients whose denominator may cancel are among them: 2 g² + S g³ of a ViT's features,
 * which have both signs, comes close to 0 at some channels.
 */
const REQUESTS: readonly { readonly method: MethodName; readonly compat?: string }[] = [
  ...METHOD_NAMES.map((method) => ({ method, ...FEW_SAMPLES[method] })),
  { method: 'smooth-grad-cam++', compat: 'torch-cam' },
  { method: 'grad-cam++', compat: 'pytorch-grad-cam' },
  { method: 'xgrad-cam', compat: 'torch-cam' },
];

let applied = 0;

describe.each(ARCHIVES)('%s', (name) => {
  const { height, width } = archive(name);
  const images = randomTensor(2, height, width, 41);
  let fast: Model;
  let plain: Model;
  const applies = new Map<string, boolean>();

  beforeAll(async () => {
    [fast, plain] = await Promise.all([load(archive(name)), load(archive(name), { optimize: false })]);
    for (const method of (await plain.inspect()).methods) applies.set(method.name, method.applies);
    expect((await fast.inspect()).methods).toEqual((await plain.inspect()).methods);
  });
  afterAll(() => Promise.all([fast.close(), plain.close()]));

  const requestOf = (options: object): ExplainOptions =>
    ({ targets: [1, 'top1'], raw: true, size: 'grid', ...options }) as unknown as ExplainOptions;

  it.each(REQUESTS)('%o', async (options) => {
    if (!applies.get(options.method)) return;
    applied++;
    const [found, expected] = await Promise.all(
      [fast, plain].map((model) => model.explain(images, requestOf(options))),
    );
    for (const [i, { maps, predictions }] of expected!.entries()) {
      expect(found![i]!.predictions.map(({ index }) => index)).toEqual(predictions.map(({ index }) => index));
      for (const [t, { data }] of maps.entries()) {
        // The archive's own map moves when the pixels do; tuning may move it by as much as that.
        const again = async (seed: number): Promise<Float32Array> =>
          (await plain.explain(nudged(images, seed), requestOf(options)))[i]!.maps[t]!.data;
        await expectRounded(
          data,
          found![i]!.maps[t]!.data,
          `${name} ${JSON.stringify(options)}, image ${i}, target ${t}`,
          { model: plain, again },
        );
      }
    }
  });
});

it('was tried with all methods', () => {
  expect(applied).toBeGreaterThan(3 * METHOD_NAMES.length);
});

describe('bf16', () => {
  /**
   * bf16 has 8 bits: each operator rounds to 2^-8 of its result, and tuning rounds at other places (a folded weight
   * once instead of an activation twice). Both ways are off float32 by a few per cent; the tuned one by no more than
   * twice the other.
   */
  const LEAST = 2 ** -6;

  it.each([
    ['torchvision-resnet-traced', ['grad-cam', 'score-cam', 'smooth-grad', 'ablation-cam']],
    ['timm-vit-fused-traced', ['grad-cam', 'gae', 'attention-rollout', 'ablation-cam']],
    ['timm-swin-traced', ['grad-cam', 'layer-cam']],
  ] as const)('%s is as close to float32 as it is untuned', async (name, methods) => {
    const { height, width } = archive(name);
    const images = randomTensor(5, height, width, 43);
    await using exact = await load(archive(name), { optimize: false });
    await using plain = await load(archive(name), { optimize: false, dtype: 'bf16' });
    await using fast = await load(archive(name), { dtype: 'bf16' });
    const logits = await Promise.all([exact, plain, fast].map((model) => model.predict(images)));
    const worst = (of: number): number =>
      Math.max(...logits[0]!.map(({ logits: { data } }, i) => relativeDifference(logits[of]![i]!.logits.data, data)));
    expect(worst(2)).toBeLessThanOrEqual(Math.max(LEAST, 2 * worst(1)));
    for (const method of methods) {
      const request = {
        method,
        targets: [1],
        raw: true,
        size: 'grid',
        ...FEW_SAMPLES[method],
      } as unknown as ExplainOptions;
      const [a, b, c] = await Promise.all([exact, plain, fast].map((model) => model.explain(images, request)));
      const error = (of: typeof a): number => {
        const all = a!
          .map(({ maps: [map] }, i) => relativeDifference(of![i]!.maps[0]!.data, map!.data))
          .sort((x, y) => x - y);
        return all[2]!;
      };
      if (process.env['SHOW']) console.log(name, method, error(b), error(c));
      expect(error(c), method).toBeLessThanOrEqual(Math.max(4 * LEAST, 2 * error(b)));
    }
  });

  it('gives each layer its own weights, however many are explained in turn', async () => {
    // What lies behind a replaced feature runs on float32 copies of its weights, which come and go with the programs.
    const { height, width } = archive('torchvision-resnet-traced');
    const images = randomTensor(1, height, width, 47);
    await using model = await load(archive('torchvision-resnet-traced'), { dtype: 'bf16' });
    await using exact = await load(archive('torchvision-resnet-traced'));
    const { nodes } = await model.inspect();
    const layers = nodes
      .filter(({ name }) => /^(conv1|maxpool|layer\d(\.\d\.conv\d)?)$/.test(name))
      .map(({ name }) => name);
    expect(layers.length).toBeGreaterThan(12);
    for (const layer of layers.toReversed()) {
      const request = { method: 'ablation-cam', layer, targets: [1], raw: true, size: 'grid' } as const;
      const [found] = await model.explain(images, request);
      await using fresh = await load(archive('torchvision-resnet-traced'), { dtype: 'bf16' });
      const [expected] = await fresh.explain(images, request);
      const [full] = await exact.explain(images, request);
      // Where a sum falls between two numbers of bf16, its order decides: so far as bf16 is from float32, and no
      // farther, two of its runs may be apart.
      expect(relativeDifference(found!.maps[0]!.data, expected!.maps[0]!.data), layer).toBeLessThanOrEqual(
        relativeDifference(expected!.maps[0]!.data, full!.maps[0]!.data),
      );
    }
  });
});
