/** Gradients of the pooled feature by algebra equal those of a backward pass, and are taken only where they hold. */
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';

import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';

import { binding } from '../../lib/engine/binding.js';
import {
  defineMethod,
  symbolic,
  type ExplainOptions,
  type MethodName,
  type Model,
  type Target,
} from '../../lib/index.js';
import type { BlockDescription, PlanDescription } from '../../lib/engine/plan-description.js';
import { randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';
import { readSafetensors } from '../support/safetensors.js';
import { archive, ARCHIVES, load } from './archives.js';

const { accumulate, grad, mean, noise, relu, select, sum } = symbolic;

/** The plans that were handed to the engine, newest last. */
const plans: PlanDescription[] = [];
beforeAll(() => {
  const native = binding();
  const plan = native.plan.bind(native);
  vi.spyOn(native, 'plan').mockImplementation((description) => {
    plans.push(description);
    return plan(description);
  });
});
afterAll(() => vi.restoreAllMocks());
afterEach(() => {
  plans.length = 0;
});

/** Every step of a plan, those of its loops too. */
const stepsOf = ({ steps }: BlockDescription): string[] =>
  steps.flatMap(({ op, body }) => [op, ...(body ? stepsOf(body) : [])]);
const ops = (): string[] => stepsOf(plans.at(-1)!.block);
const recordsGradients = (): boolean => {
  const taps = ({ steps }: BlockDescription): boolean =>
    steps.some(
      (step) => step.taps?.some(({ gradient }) => gradient) === true || (step.body !== undefined && taps(step.body)),
    );
  return taps(plans.at(-1)!.block);
};

const METHODS: readonly MethodName[] = [
  'grad-cam',
  'hires-cam',
  'grad-cam++',
  'xgrad-cam',
  'layer-cam',
  'eigen-grad-cam',
  'elementwise-grad-cam',
];

/** Channels first, channels last, tokens: whichever feature is averaged. */
const POOLED = [
  'torchvision-resnet-traced',
  'torchvision-resnet-basic-scripted',
  'transformers-resnet-traced',
  'timm-swin-traced',
  'torchvision-swin-traced',
];

describe.each(POOLED)('%s', (name) => {
  const { height, width } = archive(name);
  const images = randomTensor(3, height, width, 31);
  let model: Model;
  let layer: string;
  const explain = (options: object, seed = 0) =>
    model.explain(nudged(images, seed), { layer, size: 'grid', raw: true, ...options } as unknown as ExplainOptions);

  beforeAll(async () => {
    model = await load(archive(name));
    const { head } = await model.inspect();
    expect(head).not.toBeNull();
    layer = head!.feature;
  });
  afterAll(() => model.close());

  it.each(METHODS)(
    '%s of a class, of a difference and of three classes equals that by a backward pass',
    async (method) => {
      const targets = [3, { of: 1, against: 5 }, 0];
      const found = await explain({ method, targets });
      expect(ops()).not.toContain('gradient');
      expect(ops()).toContain('spread');
      expect(recordsGradients()).toBe(false);
      const scores = [
        ({ logits }: symbolic.Run) => select(logits, 'classes', 3),
        ({ logits }: symbolic.Run) => select(logits, 'classes', 1).sub(select(logits, 'classes', 5)),
        ({ logits }: symbolic.Run) => select(logits, 'classes', 0),
      ];
      for (const [t, score] of scores.entries()) {
        const expected = await explain({ method, score });
        // What a user computes from the logits is differentiated, whatever it is.
        expect(ops()).toContain('gradient');
        expect(recordsGradients()).toBe(true);
        for (let i = 0; i < 3; i++) {
          const again = async (seed: number): Promise<Float32Array> =>
            (await explain({ method, targets }, seed))[i]!.maps[t]!.data;
          await expectRounded(
            found[i]!.maps[t]!.data,
            expected[i]!.maps[0]!.data,
            `${method}, image ${i}, target ${t}`,
            { model, again },
          );
        }
      }
      const difference = { method, targets: [{ of: 1, against: 5 } satisfies Target] };
      const [alone] = await explain(difference);
      await expectRounded(alone!.maps[0]!.data, found[0]!.maps[1]!.data, 'a difference alone', {
        model,
        again: async (seed) => (await explain(difference, seed))[0]!.maps[0]!.data,
      });
    },
  );

  it('explains a probability by a backward pass: p (1 - p) times what it gives the logit, less what other classes take', async () => {
    const request = { method: 'grad-cam', compat: 'captum', targets: [3], score: 'probability' };
    const [found] = await explain(request);
    expect(ops()).toContain('gradient');
    const one = images.data.subarray(0, 3 * height * width);
    const [predicted] = await model.predict({ data: one.slice(), shape: [1, 3, height, width] });
    const weights = predicted!.logits.data.map((logit) => Math.exp(logit));
    const total = weights.reduce((a, b) => a + b);
    const p = [...weights].map((weight) => weight / total);
    // d p3 / d logits, by which the logits' own gradients are added.
    const scores = ({ logits }: symbolic.Run) =>
      p
        .map((share, k) => select(logits, 'classes', k).mul(p[3]! * ((k === 3 ? 1 : 0) - share)))
        .reduce((a, b) => a.add(b));
    const [expected] = await explain({ method: 'grad-cam', compat: 'captum', score: scores });
    const scale = expected!.maps[0]!.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(scale).toBeGreaterThan(0);
    await expectRounded(found!.maps[0]!.data, expected!.maps[0]!.data, 'a probability', {
      model,
      again: async (seed) => (await explain(request, seed))[0]!.maps[0]!.data,
    });
  });

  it('differentiates where the layer lies deeper, or a rule takes the place of the gradient', async () => {
    const { nodes } = await model.inspect();
    const { layout } = nodes.find((node) => node.name === layer)!;
    const before = nodes.findIndex((node) => node.name === layer);
    const deeper = nodes.slice(0, before).findLast((node) => node.layout === layout && (node.shape[2] ?? 0) > 1)!;
    await model.explain(images, { method: 'grad-cam', layer: deeper.name });
    expect(ops()).toContain('gradient');
    // Both layers: the pooled one's may be closed, the deeper one's not, and each is what it is by itself.
    await model.explain(images, { method: 'grad-cam', layer: [deeper.name, layer] });
    expect(ops()).toContain('gradient');
  });

  it('holds in loops, and for two gradients of one score', async () => {
    const inLoop = (score: (run: symbolic.Run) => symbolic.Value) =>
      defineMethod({
        name: 'in-loop',
        options: z.strictObject({}),
        usesLayer: true,
        isClassSpecific: true,
        reasonAgainst: () => null,
        map: ({ model: seen, layer: asked }) => {
          const smoothed = accumulate(seen.image, 3, (sample) => {
            const run = seen.run(seen.image.add(noise(seen.image, sample, 3, 'normal').mul(0.2)));
            const feature = run.feature(asked);
            return sum(seen.spatial(feature.mul(grad(score(run), feature)), asked), 'channels');
          });
          const feature = seen.output.feature(asked);
          const here = seen.spatial(grad(score(seen.output), feature), asked);
          return relu(smoothed.add(mean(here, 'channels')));
        },
      });
    const request = { method: inLoop((run) => run.score), targets: [2] };
    const found = await explain(request);
    expect(ops()).not.toContain('gradient');
    const expected = await model.explain(images, {
      method: inLoop((run) => select(run.logits, 'classes', 2)),
      targets: [2],
      layer,
      size: 'grid',
      raw: true,
    });
    expect(ops()).toContain('gradient');
    for (let i = 0; i < 3; i++) {
      await expectRounded(found[i]!.maps[0]!.data, expected[i]!.maps[0]!.data, `image ${i}`, {
        model,
        again: async (seed) => (await explain(request, seed))[i]!.maps[0]!.data,
      });
    }
  });
});

const REFERENCES = new URL('../parity/references/', import.meta.url);

it('captures the gradient of the pooled node that PyTorch gives', async () => {
  let compared = 0;
  for (const file of readdirSync(REFERENCES)) {
    const name = basename(file, '.safetensors');
    if (!ARCHIVES.some((each) => each.name === name)) continue;
    const reference = readSafetensors(new URL(file, REFERENCES));
    const input = reference.get('input')!;
    const [, , height, width] = input.shape;
    await using model = await load({ name, height: height!, width: width! });
    const { head } = await model.inspect();
    if (head === null) continue;
    const key = [...reference.keys()].find(
      (each) =>
        each.startsWith('gradients.features.') && each.slice(19).replace(/#0$/, '').replace('#', ':') === head.feature,
    );
    if (key === undefined) continue;
    const pixels = { data: input.data as Float32Array, shape: input.shape };
    const gradient = async (seed = 0) =>
      (
        await model.capture([nudged(pixels, seed)], {
          features: [head.feature],
          gradients: { target: Number(reference.get('target')!.data[0]) },
        })
      ).gradients!.features[head.feature]!;
    const { data, shape } = await gradient();
    expect(ops()).not.toContain('gradient');
    expect(shape).toEqual(reference.get(key)!.shape);
    await expectRounded(data, reference.get(key)!.data as Float32Array, name, {
      model,
      again: async (seed) => (await gradient(seed)).data,
    });
    compared++;
  }
  expect(compared).toBeGreaterThanOrEqual(4);
});
