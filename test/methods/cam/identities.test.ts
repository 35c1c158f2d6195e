import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type MethodName, type NamedOptions } from '../../../lib/index.js';
import { archivePath, loadSmall, plainCard, randomTensor } from '../../support/models.js';
import { expectRounded, expectUnlike, nudged } from '../../support/rounding.js';
import { readSafetensors, relativeDifference } from '../../support/safetensors.js';

type Options = NamedOptions<MethodName>;

describe.each([
  ['torchvision-resnet-traced', [32, 48]],
  ['timm-swin-traced', [24, 40]],
] as const)('a linear head on the mean of a feature: %s', (archive, [height, width]) => {
  let model: Model;
  let feature: string;
  const images = randomTensor(3, height, width, 5);
  const targets = [1, 4];
  const raw = async (options: Options, seed = 0): Promise<Float32Array[]> => {
    const explained = await model.explain(nudged(images, seed), { ...options, targets, size: 'grid', raw: true });
    return explained.flatMap(({ maps }) => maps.map(({ data }) => data));
  };

  beforeAll(async () => {
    model = await loadSmall(archive);
    feature = (await model.inspect()).head!.feature;
  });
  afterAll(() => model.close());

  // There g is W / places at every place, so each of these weighs channels by W, and the Hessian is zero.
  it.each<Options>([
    { method: 'grad-cam' },
    { method: 'hires-cam' },
    { method: 'xgrad-cam' },
    { method: 'shapley-cam', utility: 'score' },
    { method: 'finer-cam', strength: 0 },
  ])('$method is the positive part of CAM', async (options) => {
    const cams = (await raw({ method: 'cam' })).map((map) => map.map((value) => Math.max(0, value)));
    const summed = async (seed?: number): Promise<Float32Array[]> =>
      (await raw({ ...options, layer: feature } as Options, seed)).map((map) => map.map((value) => value * map.length));
    for (const [i, map] of (await summed()).entries()) {
      await expectRounded(map, cams[i]!, `map ${i}`, { model, again: async (seed) => (await summed(seed))[i]! });
    }
    expect(cams.some((map) => map.some((value) => value > 0))).toBe(true);
  });

  it('HiResCAM without ReLU adds up to the logit less its bias, as CAM over its places does', async () => {
    const captured = await model.capture(images, { features: [feature], gradients: { target: 1 } });
    const activations = captured.features[feature]!.data;
    const gradients = captured.gradients!.features[feature]!.data;
    const sums = async (seed?: number): Promise<number[]> =>
      (await raw({ method: 'cam' }, seed))
        .filter((_, i) => i % targets.length === 0)
        .map((cam) => cam.reduce((sum, value) => sum + value, 0) / cam.length);
    const products: number[] = [];
    for (let image = 0; image < 3; image++) {
      const each = activations.length / 3;
      let product = 0;
      for (let i = image * each; i < (image + 1) * each; i++) product += activations[i]! * gradients[i]!;
      products.push(product);
    }
    await expectRounded(await sums(), products, 'the sums', { model, again: sums });
  });
});

describe('what each method depends on', () => {
  let model: Model;
  const images = randomTensor(2, 32, 48, 3);
  const grid = { size: 'grid', raw: true, layer: 'layer3' } as const;

  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());

  it.each<MethodName>(['eigen-cam', 'kpca-cam', 'fem', 'random-cam'])('%s does not know the class', async (method) => {
    const [explained] = await model.explain(images, { method, targets: [0, 5], ...grid } as Options);
    expect(explained!.maps[0]!.data).toEqual(explained!.maps[1]!.data);
    expect(Math.max(...explained!.maps[0]!.data)).toBeGreaterThan(0);
  });

  it.each<MethodName>([
    'grad-cam++',
    'hires-cam',
    'elementwise-grad-cam',
    'xgrad-cam',
    'layer-cam',
    'eigen-grad-cam',
    'shapley-cam',
    'finer-cam',
  ])('%s does', async (method) => {
    const [explained] = await model.explain(images, { method, targets: [0, 5], ...grid } as Options);
    expect(relativeDifference(explained!.maps[0]!.data, explained!.maps[1]!.data)).toBeGreaterThan(0.01);
  });

  it('random-cam repeats with its seed, gives every image of a batch the same weights, and others with another', async () => {
    const ofSeed = async (seed: number, which: typeof images = images): Promise<Float32Array[]> =>
      (await model.explain(which, { method: 'random-cam', seed, ...grid })).map(({ maps }) => maps[0]!.data);
    const first = await ofSeed(4);
    expect(await ofSeed(4)).toEqual(first);
    const second = {
      data: images.data.slice(images.data.length / 2),
      shape: [1, 3, 32, 48] as [number, number, number, number],
    };
    await expectRounded((await ofSeed(4, second))[0]!, first[1]!, 'the second image alone', {
      model,
      again: async (seed) => (await ofSeed(4, nudged(second, seed)))[0]!,
    });
    expect(relativeDifference((await ofSeed(5))[0]!, first[0]!)).toBeGreaterThan(0.01);
  });

  it('full-grad misses no part of the logit in a network of ReLUs', async () => {
    const explained = await model.explain(images, { method: 'full-grad', targets: [0, 5] });
    // Of both images, the logits of classes 0 and 5.
    const logits = async (seed = 0): Promise<number[]> => {
      const { data, shape } = (await model.capture(nudged(images, seed), { features: ['fc'] })).features['fc']!;
      return [0, 1].flatMap((image) => [0, 5].map((target) => data[image * shape[1]! + target]!));
    };
    const exact = await logits();
    const errors = explained.flatMap(({ maps }) => maps.map(({ figures }) => figures['completenessError']!));
    const parts = exact.map((logit, i) => logit + errors[i]!);
    await expectRounded(parts, exact, 'what all parts add up to', { model, again: logits });
  });

  it('full-grad says so where something is missed: of a probability it says nothing', async () => {
    const [explained] = await model.explain(images, { method: 'full-grad', targets: [0], score: 'probability' });
    expect(explained!.maps[0]!.figures).toEqual({});
  });

  it('a component, whose sign is arbitrary, has its largest magnitude positive', async () => {
    // Cut off at zero, a map of the wrong sign would keep the smaller side only.
    for (const method of ['eigen-cam', 'eigen-grad-cam', 'kpca-cam'] as const) {
      const explained = await model.explain(images, { method, ...grid });
      for (const { maps } of explained) expect(maps[0]!.max).toBeGreaterThan(0);
    }
  });

  it.each<MethodName>([
    'grad-cam++',
    'xgrad-cam',
    'layer-cam',
    'eigen-cam',
    'eigen-grad-cam',
    'kpca-cam',
    'shapley-cam',
    'finer-cam',
    'fem',
    'full-grad',
  ])('%s gives no NaN where nothing is active', async (method) => {
    const black = { data: new Float32Array(3 * 32 * 48), shape: [1, 3, 32, 48] as const };
    const layer = method === 'full-grad' ? {} : { layer: 'layer1' };
    const [explained] = await model.explain([black], { method, targets: [2], ...layer } as Options);
    expect(['ok', 'flat']).toContain(explained!.maps[0]!.state);
    expect([...explained!.maps[0]!.data].every(Number.isFinite)).toBe(true);
  });
});

describe('second derivatives through the attention of every exporter', () => {
  it.each([
    'timm-vit-fused-traced',
    'timm-vit-fused-scripted',
    'timm-vit-fused-frozen',
    'timm-vit-qk-norm-traced',
    'timm-swin-fused-traced',
    'torchvision-vit-traced-no-grad',
    'torchvision-swin-scripted',
    'transformers-vit-sdpa-traced',
    'transformers-dinov2-registers-traced',
  ])('%s: shapley-cam of the probability is not Grad-CAM', async (name) => {
    const { shape } = readSafetensors(new URL(`../../parity/references/${name}.safetensors`, import.meta.url)).get(
      'input',
    )!;
    const [, , height, width] = shape as [number, number, number, number];
    await using model = await Model.load(archivePath(name), { device: 'cpu', card: plainCard(height, width) });
    const image = randomTensor(1, height, width, 8);
    const common = { targets: [0, 1, 2, 3, 4, 5, 6], size: 'grid', raw: true, score: 'probability' } as const;
    const [curved] = await model.explain(image, { method: 'shapley-cam', utility: 'score', ...common });
    const [plain] = await model.explain(image, { method: 'grad-cam', ...common });
    const join = (maps: readonly { data: Float32Array }[]): Float32Array =>
      Float32Array.from(maps.flatMap(({ data }) => [...data]));
    await expectUnlike(join(curved!.maps), join(plain!.maps), 'shapley-cam', model);
  });
});
