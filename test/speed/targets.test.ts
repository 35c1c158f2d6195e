/** Many targets share one forward pass, and none costs the others anything. The engine itself counts what it runs. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';

import { binding } from '../../lib/engine/binding.js';
import type { NativeResult } from '../../lib/engine/native-types.js';
import {
  defineMethod,
  symbolic,
  type ExplainOptions,
  type Explanation,
  type HeatMap,
  type Method,
  type Model,
  type Target,
} from '../../lib/index.js';
import { randomTensor } from '../support/models.js';
import { expectRounded, nudged, ROUNDOFF, type Rounded } from '../support/rounding.js';
import { relativeDifference } from '../support/safetensors.js';
import { archive, load } from './archives.js';

const { accumulate, concatenate, constant, grad, iterate, mean, noise, select, square, sum, take, top } = symbolic;

/** Operators of the model that each image of the last call took, as the engine tells with every result. */
const ran: number[] = [];

beforeAll(() => {
  const native = binding();
  const run = native.run.bind(native);
  vi.spyOn(native, 'run').mockImplementation((...given) => {
    const results = run(...given);
    for (const result of results) {
      void result.then(
        ({ operators }: NativeResult) => ran.push(operators),
        () => undefined,
      );
    }
    return results;
  });
});
beforeEach(() => {
  ran.length = 0;
});
afterAll(() => vi.restoreAllMocks());

function expectSame(found: HeatMap, expected: HeatMap, what: string, rounded: Rounded): Promise<void> {
  expect(found.target.index, what).toBe(expected.target.index);
  return expectRounded(found.data, expected.data, what, rounded);
}

const own = (name: string, map: Method['map'], isClassSpecific = true): Method =>
  defineMethod({
    name,
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific,
    reasonAgainst: () => null,
    map,
  });

/** A loop in a loop: noise outside, a path to zero inside, a gradient for each. */
const nested = own('nested-loops', ({ model }) =>
  accumulate(model.image, 3, (outer) => {
    const noisy = model.image.add(noise(model.image, outer, 4, 'normal').mul(0.2));
    const inner = accumulate(noisy, 2, (sample) => {
      const run = model.run(noisy.mul(sample.add(1).div(2)));
      return square(mean(grad(run.score, run.image), 'channels'));
    });
    return symbolic.sqrt(inner);
  }).div(3),
);

/** A value of each target is computed outside, and read in a loop within a loop. */
const captured = own('per-target-captures', ({ model }) => {
  const slope = grad(model.output.score, model.output.image);
  const scores = concatenate(slope, 2, (outer) => {
    const moved = model.image.add(slope.mul(outer.add(1)));
    return mean(
      concatenate(moved, 2, (sample) => model.run(moved.add(noise(moved, sample, 9, 'normal').mul(0.1))).score),
      'sample',
    );
  });
  // The scores weigh the slope's rows.
  return mean(slope, 'channels').mul(sum(scores, 'sample'));
});

/** A gradient's loop behind a loop that shares its forward pass, then what depends on both. */
const twoLoops = own('loop-after-loop', ({ model }) => {
  const first = accumulate(model.image, 2, (sample) => {
    const run = model.run(model.image.add(noise(model.image, sample, 1, 'normal').mul(0.1)));
    return mean(grad(run.score, run.image), 'channels');
  });
  const second = accumulate(first, 2, (sample) => {
    const run = model.run(model.image.mul(sample.add(1)).add(first));
    return mean(square(grad(run.score, run.image)), 'channels');
  });
  const whole = mean(grad(model.output.score, model.output.image), 'channels');
  return first.mul(second).add(whole);
});

/** Each target climbs by itself; around it nothing is shared but the image. */
const climbing = own('climbing', ({ model }) => {
  const climbed = iterate(model.image, 3, (state, round) => {
    const run = model.run(state);
    const noisy = accumulate(state, 2, (sample) => {
      const other = model.run(state.add(noise(state, sample, 2, 'normal').mul(0.05)));
      return grad(other.score, other.image);
    });
    return state.add(grad(run.score, run.image).add(noisy).mul(round.add(1)).mul(0.01));
  });
  return mean(square(climbed.sub(model.image)), 'channels');
});

/** An iteration that asks for no class, and a loop with a limit of each image's own. */
const limited = own('limited', ({ model }) => {
  const smoothed = iterate(model.image, 3, (state) => state.mul(0.5).add(model.image.mul(0.1)));
  // As many samples as the image's best class says, one to seven.
  const limit = select(top(model.output.logits, 1).indices, 'rank', 0).add(1);
  const scores = concatenate(model.image, 7, (sample) => model.run(smoothed.mul(sample.add(1))).score, { limit });
  return mean(model.image, 'channels').mul(sum(scores, 'sample'));
});

interface Case {
  readonly archive: string;
  readonly options: { readonly method: unknown; readonly memory?: number };
  /**
   * Whether the forward pass of each sample serves all targets, so that the engine runs the same however many there
   * are.
   */
  readonly shares: boolean;
}
const RESNET = 'torchvision-resnet-traced';
const VIT = 'timm-vit-fused-traced';
const SHARED: readonly [string, Case][] = [
  ['rise', { archive: RESNET, options: { method: 'rise', masks: 40, grid: 4 } as never, shares: true }],
  [
    'rise in chunks of one',
    { archive: VIT, options: { method: 'rise', masks: 6, grid: 4, memory: 1 } as never, shares: true },
  ],
  ['score-cam', { archive: RESNET, options: { method: 'score-cam' }, shares: true }],
  ['score-cam of a ViT', { archive: VIT, options: { method: 'score-cam' }, shares: true }],
  [
    'integrated-gradients',
    { archive: RESNET, options: { method: 'integrated-gradients', steps: 6 } as never, shares: true },
  ],
  [
    'integrated-gradients of a ViT',
    { archive: VIT, options: { method: 'integrated-gradients', steps: 40 } as never, shares: true },
  ],
  [
    'expected-gradients',
    { archive: VIT, options: { method: 'expected-gradients', samples: 4 } as never, shares: true },
  ],
  ['deeplift', { archive: VIT, options: { method: 'deeplift' }, shares: true }],
  ['deeplift-shap', { archive: RESNET, options: { method: 'deeplift-shap', samples: 4 } as never, shares: true }],
  [
    'kernel-shap',
    {
      archive: RESNET,
      options: { method: 'kernel-shap', segments: 'patches', grid: 3, samples: 12 } as never,
      shares: true,
    },
  ],
  [
    'lime',
    { archive: RESNET, options: { method: 'lime', segments: 'patches', grid: 3, samples: 12 } as never, shares: true },
  ],
  ['xrai', { archive: RESNET, options: { method: 'xrai', steps: 4 } as never, shares: true }],
  ['blur-ig', { archive: RESNET, options: { method: 'blur-ig', steps: 4 } as never, shares: true }],
  ['smooth-grad', { archive: RESNET, options: { method: 'smooth-grad', samples: 4 } as never, shares: true }],
  [
    'smooth-grad of a ViT, in chunks',
    { archive: VIT, options: { method: 'smooth-grad', samples: 4, memory: 200_000 } as never, shares: true },
  ],
  ['opti-cam', { archive: RESNET, options: { method: 'opti-cam', steps: 3 } as never, shares: false }],
  ['poly-cam', { archive: RESNET, options: { method: 'poly-cam', stages: 2 } as never, shares: true }],
  ['recipro-cam', { archive: RESNET, options: { method: 'recipro-cam', layer: 'layer3' } as never, shares: true }],
  ['vit-recipro-cam', { archive: VIT, options: { method: 'vit-recipro-cam' }, shares: true }],
  ['occlusion', { archive: RESNET, options: { method: 'occlusion', window: 9, stride: 8 } as never, shares: true }],
  ['beyond-intuition', { archive: VIT, options: { method: 'beyond-intuition', steps: 4 } as never, shares: true }],
  ['grad-cam', { archive: VIT, options: { method: 'grad-cam' }, shares: true }],
  ['gae', { archive: VIT, options: { method: 'gae' }, shares: true }],
  ['vit-cx', { archive: VIT, options: { method: 'vit-cx' }, shares: true }],
  ['nested loops', { archive: RESNET, options: { method: nested }, shares: true }],
  ['a limit of each image', { archive: RESNET, options: { method: limited }, shares: true }],
  ['values per target that loops read', { archive: RESNET, options: { method: captured }, shares: false }],
  ['a loop after a loop', { archive: RESNET, options: { method: twoLoops }, shares: false }],
  ['an iteration for each target', { archive: RESNET, options: { method: climbing }, shares: false }],
];

const models = new Map<string, Model>();
beforeAll(async () => {
  for (const name of [RESNET, VIT]) models.set(name, await load(archive(name)));
});
afterAll(() => Promise.all([...models.values()].map((model) => model.close())));

const TARGETS = [1, 4, 'top1', { of: 2, against: 'top1' }, 6] as readonly Target[];

describe.each(SHARED)('%s', (_, { archive: name, options, shares }) => {
  const { height, width } = archive(name);
  const images = randomTensor(3, height, width, 17);
  const size = 3 * height * width;
  const one = (i: number): { data: Float32Array; shape: number[] } => ({
    data: images.data.slice(i * size, (i + 1) * size),
    shape: [1, 3, height, width],
  });
  const explain = async (
    input: { data: Float32Array; shape: readonly number[] },
    targets: unknown,
  ): Promise<Explanation[]> => {
    ran.length = 0;
    return models
      .get(name)!
      .explain(input, { ...options, targets, size: 'grid', raw: true } as unknown as ExplainOptions);
  };

  it('gives T targets at once what it gives each alone', async () => {
    const [together] = await explain(one(0), TARGETS);
    const forAll = ran[0]!;
    expect(ran).toHaveLength(1);
    let forOne = 0;
    for (const [t, target] of TARGETS.entries()) {
      const [alone] = await explain(one(0), [target]);
      forOne = ran[0]!;
      const again = async (seed: number): Promise<HeatMap> =>
        (await explain(nudged(one(0), seed), TARGETS))[0]!.maps[t]!;
      await expectSame(together!.maps[t]!, alone!.maps[0]!, `target ${t}`, {
        model: models.get(name)!,
        again: async (seed) => (await again(seed)).data,
      });
      await expectRounded([together!.maps[t]!.target.score], [alone!.maps[0]!.target.score], `score of target ${t}`, {
        model: models.get(name)!,
        again: async (seed) => [(await again(seed)).target.score],
      });
    }
    expect(together!.maps).toHaveLength(TARGETS.length);
    expect(forOne).toBeGreaterThan(0);
    if (shares) expect(forAll, 'operators for all targets').toBe(forOne);
    else expect(forAll).toBeGreaterThan(forOne);
    // The maps are no copies of one another.
    expect(relativeDifference(together!.maps[0]!.data, together!.maps[1]!.data)).toBeGreaterThan(1e-3);
  });

  it('gives a batch with lists of its own what each image gets alone', async () => {
    const lists: Target[][] = [
      [1, 3],
      ['top1', 5],
      [{ of: 0, against: 2 }, 6],
    ];
    const batch = await explain(images, lists);
    for (let i = 0; i < 3; i++) {
      const [single] = await explain(one(i), lists[i]!);
      expect(batch[i]!.maps).toHaveLength(2);
      for (const t of [0, 1]) {
        const again = async (seed: number): Promise<Float32Array> =>
          (await explain(nudged(images, seed), lists))[i]!.maps[t]!.data;
        await expectSame(batch[i]!.maps[t]!, single!.maps[t]!, `image ${i}, target ${t}`, {
          model: models.get(name)!,
          again,
        });
      }
    }
  });
});

describe('targets', () => {
  const { height, width } = archive(RESNET);
  const image = randomTensor(1, height, width, 23);

  it('cost nothing that was not asked for: one class of a model costs what another does', async () => {
    const model = models.get(RESNET)!;
    const operators = new Set<number>();
    for (const target of [0, 3, 6]) {
      ran.length = 0;
      await model.explain(image, { method: 'rise', masks: 6, grid: 4, targets: [target] });
      operators.add(ran[0]!);
    }
    expect(operators.size).toBe(1);
  });

  it('that are none leave a method without a class its one map, and what asks for a class says so', async () => {
    const model = models.get(RESNET)!;
    const free = own(
      'free',
      ({ model: symbolicModel }) =>
        accumulate(symbolicModel.image, 3, (sample) => mean(symbolicModel.image, 'channels').mul(sample)),
      false,
    );
    const [explained] = await model.explain(image, { method: free, targets: ['top1'], raw: true, size: 'grid' });
    expect(explained!.maps).toHaveLength(1);
    const expected = Float32Array.from({ length: height * width }, (_, i) =>
      [0, 1, 2].reduce((total, c) => total + image.data[c * height * width + i]!, 0),
    );
    // The mean of three, three products and two sums.
    expect(relativeDifference(explained!.maps[0]!.data, expected)).toBeLessThanOrEqual(8 * ROUNDOFF);
    await expect(model.explain(image, { method: 'rise', masks: 4, grid: 4, targets: [] })).rejects.toMatchObject({
      code: expect.stringMatching(/INVALID_OPTION|UNKNOWN_TARGET/) as string,
    });
  });

  it('are no reason to tell the loops of one from those of another: samples are the same for all', async () => {
    const model = models.get(RESNET)!;
    const table = Float32Array.from({ length: 4 }, (_, i) => i + 1);
    const weighted = own('weighted', ({ model: symbolicModel }) => {
      const weights = constant(symbolicModel.image, table, { sample: 4 });
      const scores = concatenate(
        symbolicModel.image,
        4,
        (sample) => symbolicModel.run(symbolicModel.image.mul(take(weights, sample))).score,
      );
      return mean(symbolicModel.image, 'channels')
        .mul(0)
        .add(sum(scores.mul(weights), 'sample'));
    });
    const explain = (seed = 0) =>
      model.explain(nudged(image, seed), { method: weighted, targets: [0, 5], raw: true, size: 'grid' });
    const [found] = await explain();
    for (const [t, target] of [0, 5].entries()) {
      let expected = 0;
      for (const factor of table) {
        const [predicted] = await model.predict({
          data: image.data.map((value) => value * factor),
          shape: image.shape,
        });
        expected += factor * predicted!.logits.data[target]!;
      }
      await expectRounded([found!.maps[t]!.data[0]!], [expected], `target ${t}`, {
        model,
        again: async (seed) => [(await explain(seed))[0]!.maps[t]!.data[0]!],
      });
    }
  });
});
