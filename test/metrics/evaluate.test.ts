import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { defineMetric, METRIC_NAMES, symbolic, z, type EvaluateOptions, type Model } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

const [HEIGHT, WIDTH] = [24, 40];
const images = randomTensor(3, HEIGHT, WIDTH, 9);
const objects = [0, 1, 2].map((i) => ({ boxes: [{ left: 4 * i, top: 2, width: 12, height: 10 }] }));

let model: Model;
beforeAll(async () => {
  model = await loadSmall('timm-vit-fused-traced');
});
afterAll(() => model.close());

const evaluate = (options: EvaluateOptions, of: object = images) => model.evaluate(of as never, options);
/** Few runs of each metric. */
const FEW = METRIC_NAMES.map((metric) => {
  const few: Partial<Record<string, object>> = {
    deletion: { steps: 5 },
    insertion: { steps: 5, baseline: { blur: 2 } },
    'pixel-flipping': { steps: 5 },
    monotonicity: { steps: 5 },
    'region-perturbation': { steps: 5 },
    'faithfulness-correlation': { samples: 6, pixels: 40 },
    'faithfulness-estimate': { groups: 6 },
    infidelity: { samples: 4 },
    'max-sensitivity': { samples: 3 },
    'average-sensitivity': { samples: 3 },
    'local-lipschitz': { samples: 3 },
  };
  return { metric, ...few[metric] };
}) as EvaluateOptions['metrics'];

describe('every metric', () => {
  it('gives a batch what it gives single images, and repeats to the bit', async () => {
    const methods: EvaluateOptions['methods'] = [
      'grad-cam',
      'attention-rollout',
      { method: 'smooth-grad', samples: 2 },
    ];
    const together = await evaluate({ methods, metrics: FEW, objects, targets: [2] });
    expect((await evaluate({ methods, metrics: FEW, objects, targets: [2] })).judgements).toEqual(together.judgements);
    const size = 3 * HEIGHT * WIDTH;
    for (const i of [0, 1, 2]) {
      const one = { data: images.data.slice(i * size, (i + 1) * size), shape: [1, 3, HEIGHT, WIDTH] };
      const alone = async (seed: number) =>
        (await evaluate({ methods, metrics: FEW, objects: [objects[i]!], targets: [2] }, nudged(one, seed))).judgements;
      const single = await alone(0);
      for (const [at, method] of ['grad-cam', 'attention-rollout', 'smooth-grad'].entries()) {
        const batched = together.judgements.filter((each) => each.method === method)[i]!;
        for (const metric of METRIC_NAMES) {
          await expectRounded([single[at]!.figures[metric]!], [batched.figures[metric]!], `${method}, ${metric}`, {
            model,
            again: async (seed) => [(await alone(seed))[at]!.figures[metric]!],
          });
        }
      }
    }
  });

  it('two targets are as two calls; without a class only what reads a score differs', async () => {
    const one = { data: images.data.slice(0, 3 * HEIGHT * WIDTH), shape: [1, 3, HEIGHT, WIDTH] };
    const options = { methods: ['attention-rollout'] as const, metrics: FEW, objects: [objects[0]!] };
    const both = (await evaluate({ ...options, targets: [1, 4] }, one)).judgements;
    const [first] = (await evaluate({ ...options, targets: [1] }, one)).judgements;
    const [second] = (await evaluate({ ...options, targets: [4] }, one)).judgements;
    expect(both.map(({ target }) => target.index)).toEqual([1, 4]);
    for (const metric of METRIC_NAMES) {
      for (const [together, alone] of [
        [both[0]!, first!],
        [both[1]!, second!],
      ] as const) {
        await expectRounded([together.figures[metric]!], [alone.figures[metric]!], metric, {
          model,
          again: async (seed) => [
            (await evaluate({ ...options, targets: [alone.target.index] }, nudged(one, seed))).judgements[0]!.figures[
              metric
            ]!,
          ],
        });
      }
    }
    expect(both[0]!.figures['deletion']).not.toBe(both[1]!.figures['deletion']);
    expect(both[0]!.figures['sparseness']).toBe(both[1]!.figures['sparseness']);
  });
});

describe('a metric of your own', () => {
  const meanOnObject = defineMetric({
    name: 'mean-on-object',
    family: 'localization',
    better: 'higher',
    needsMask: true,
    readsScore: false,
    options: z.strictObject({ factor: z.number().default(1) }),
    measure: ({ map, mask, options }) => symbolic.mean(map.mul(mask()), ['height', 'width']).mul(options.factor),
  });

  it('is computed like the bundled ones', async () => {
    const [explained] = await model.explain(images, { method: 'grad-cam', raw: true, targets: [2] });
    const { judgements } = await evaluate({
      methods: ['grad-cam'],
      metrics: [{ metric: meanOnObject, options: { factor: 3 } }],
      objects,
      targets: [2],
    });
    const map = explained!.maps[0]!.data;
    let sum = 0;
    for (let row = 2; row < 12; row++) for (let column = 0; column < 12; column++) sum += map[row * WIDTH + column]!;
    await expectRounded([judgements[0]!.figures['mean-on-object']!], [(3 * sum) / (HEIGHT * WIDTH)], 'mean', {
      model,
      again: async () => [],
      promised: 1e-5,
    });
  });
});

describe('the summary', () => {
  it('has a mean, an interval, the best method and a test against it', async () => {
    const evaluation = await evaluate({
      methods: ['grad-cam', 'attention-rollout'],
      metrics: ['sparseness', { metric: 'complexity', label: 'entropy' }],
    });
    const figures = evaluation.judgements.map((each) => each.figures);
    const summary = evaluation.summary();
    expect(summary.map(({ method, metric, count }) => [method, metric, count])).toEqual([
      ['grad-cam', 'sparseness', 3],
      ['attention-rollout', 'sparseness', 3],
      ['grad-cam', 'entropy', 3],
      ['attention-rollout', 'entropy', 3],
    ]);
    for (const [i, { mean, low, high, isBest, pValue, metric }] of summary.entries()) {
      const own = figures.slice(3 * (i % 2), 3 * (i % 2) + 3).map((each) => each[metric]!);
      expect(mean).toBeCloseTo((own[0]! + own[1]! + own[2]!) / 3, 6);
      expect(low).toBeGreaterThanOrEqual(Math.min(...own));
      expect(high).toBeLessThanOrEqual(Math.max(...own));
      expect(low).toBeLessThanOrEqual(mean);
      expect(high).toBeGreaterThanOrEqual(mean);
      // Of three pairs there are eight choices of signs, of which a choice and its opposite are as large.
      if (isBest) expect(pValue).toBeNaN();
      else expect([0.25, 0.5, 0.75, 1]).toContain(pValue);
    }
    expect(summary.filter(({ isBest }) => isBest)).toHaveLength(2);
  });
});

describe('what is asked wrongly is refused before anything runs', () => {
  it.each<[string, object, string]>([
    ['an unknown metric', { methods: ['grad-cam'], metrics: ['deletoin'] }, 'deletion'],
    [
      'an unknown option',
      { methods: ['grad-cam'], metrics: [{ metric: 'deletion', step: 3 }] },
      'deletion has no option "step"; its own are steps',
    ],
    [
      'a wrong value',
      { methods: ['grad-cam'], metrics: [{ metric: 'deletion', steps: 0 }] },
      'The option steps of deletion is wrong',
    ],
    ['no metric', { methods: ['grad-cam'], metrics: [] }, '1 to 100 metrics'],
    ['no objects', { methods: ['grad-cam'], metrics: ['pointing-game'] }, 'give `objects`'],
    ['one label twice', { methods: ['grad-cam', 'grad-cam'], metrics: ['deletion'] }, 'two of the method "grad-cam"'],
    [
      'too few objects',
      { methods: ['grad-cam'], metrics: ['pointing-game'], objects: [objects[0]] },
      '1 objects for 3 images',
    ],
    ['options of explain', { methods: [{ method: 'grad-cam', raw: true }], metrics: ['deletion'] }, 'takes no `raw`'],
    ['no metric object', { methods: ['grad-cam'], metrics: [{ metric: { name: 'x' } }] }, 'make it with defineMetric'],
  ])('%s', async (_what, options, message) => {
    await expect(evaluate(options as EvaluateOptions)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining(message) as string,
    });
  });

  it('a method of concepts', async () => {
    await expect(evaluate({ methods: ['deep-feature-factorization'], metrics: ['sparseness'] })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
    });
  });

  it('an aborted evaluation rejects', async () => {
    await expect(
      evaluate({ methods: ['grad-cam'], metrics: ['deletion'], signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('progress counts images of all methods', async () => {
    const seen: string[] = [];
    await evaluate({
      methods: ['grad-cam', 'attention-rollout'],
      metrics: ['sparseness'],
      onProgress: ({ done, total }) => seen.push(`${done} of ${total}`),
    });
    expect(seen).toEqual(['1 of 6', '2 of 6', '3 of 6', '4 of 6', '5 of 6', '6 of 6']);
  });
});
