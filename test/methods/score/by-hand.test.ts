import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, symbolic } from '../../../lib/index.js';
import { loadSmall, plainCard, randomTensor } from '../../support/models.js';
import { expectRounded, expectUnlike, expectWithin, nudged, ROUNDOFF } from '../../support/rounding.js';

const RED = [1, 2, 3, 4];
const GREEN = [0, 4, 0, 0];
/** Red and green are the two channels of the layer; the logit of class 0 is mean red + 2 mean green + 1. */
const IMAGE = { data: Float32Array.from([...RED, ...GREEN, 0, 0, 0, 0]), shape: [1, 3, 2, 2] };
/** Of red: (red - 1) / 3. Of green: green / 4. */
const MASKS = [
  [0, 1 / 3, 2 / 3, 1],
  [0, 1, 0, 0],
] as const;
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value) / values.length;
/** Class 0's logit less its bias, of the image seen through a mask. */
const seenThrough = (mask: readonly number[]): number =>
  mean(RED.map((red, i) => red * mask[i]!)) + 2 * mean(GREEN.map((green, i) => green * mask[i]!));
const weighted = (red: number, green: number): number[] => RED.map((value, i) => red * value + green * GREEN[i]!);
/** What the channels add up to at a place: weights are at most 1. */
const both = (place: number): number => RED[place]! + GREEN[place]!;
/**
 * A score, of at most 5, is rounded fifteen times on its way through mask and network. The softmax passes on a quarter
 * of what two scores are off, and rounds three times itself; then come a product and a sum.
 */
const OF_SOFTMAX = (15 * 5 * 2) / 4 + 3 + 2;
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

describe('by hand, on two channels of 2 x 2 places', () => {
  let model: Model;
  const raw = { layer: 'relu', targets: [0], size: 'grid', raw: true } as const;

  beforeAll(async () => {
    model = await Model.load(fileURLToPath(new URL('../../parity/methods/score-two-by-two.pt', import.meta.url)), {
      device: 'cpu',
      card: plainCard(2, 2),
    });
  });
  afterAll(() => model.close());

  it('score-cam: softmax of the scores 10/3 and 7/2', async () => {
    expect(seenThrough(MASKS[0]) + 1).toBeCloseTo(10 / 3, 9);
    expect(seenThrough(MASKS[1]) + 1).toBeCloseTo(7 / 2, 9);
    const { maps } = (await model.explain([IMAGE], { method: 'score-cam', ...raw }))[0]!;
    expectWithin(maps[0]!.data, weighted(sigmoid(-1 / 6), sigmoid(1 / 6)), OF_SOFTMAX, both);
  });

  it('is-cam: a linear model scores 3/4 of the whole mask on average over the steps 1/2 and 1', async () => {
    const { maps } = (await model.explain([IMAGE], { method: 'is-cam', steps: 2, ...raw }))[0]!;
    expectWithin(maps[0]!.data, weighted(sigmoid(-1 / 8), sigmoid(1 / 8)), OF_SOFTMAX, both);
  });

  it("is-cam as torch-cam has it: factors 1/2 and 3/2, which is the whole mask's score on average", async () => {
    const { maps } = (await model.explain([IMAGE], { method: 'is-cam', steps: 2, compat: 'torch-cam', ...raw }))[0]!;
    expectWithin(maps[0]!.data, weighted(sigmoid(-1 / 6), sigmoid(1 / 6)), OF_SOFTMAX, both);
  });

  it('ablation-cam: of the score 11/2, red brings 5/2 and green 2', async () => {
    const { maps } = (await model.explain([IMAGE], { method: 'ablation-cam', ...raw }))[0]!;
    // Two scores of at most 5.5, each rounded twelve times, over one of 5.5; a quotient, a product and a sum.
    expectWithin(maps[0]!.data, weighted(5 / 11, 4 / 11), 2 * 12 + 3, both);
  });

  it('ablation-cam keeps the sign of what is lost where the score is negative', async () => {
    // Class 1 scores 3 red - green: with red negated by the image, relu leaves -green = -1.
    const dark = { data: Float32Array.from([0, 0, 0, 0, ...GREEN, 0, 0, 0, 0]), shape: [1, 3, 2, 2] };
    const [ours] = await model.explain([dark], { method: 'ablation-cam', ...raw, targets: [1] });
    expect(ours!.maps[0]!.state).toBe('flat');
    const [theirs] = await model.explain([dark], {
      method: 'ablation-cam',
      compat: 'pytorch-grad-cam',
      ...raw,
      targets: [1],
    });
    expectWithin(theirs!.maps[0]!.data, GREEN, 2 * 12 + 3, both);
  });

  it('smooth-grad-cam++: alpha is 1 / (2 + g * sum of A), with g = W / 4 everywhere', async () => {
    const [explained] = await model.explain([IMAGE], { method: 'smooth-grad-cam++', noise: 0, samples: 4, ...raw });
    // Red: g = 1/4 and a sum of 10. Green: g = 1/2 and a sum of 4. Each at four places.
    // A gradient rounds three times, the mean over the samples four, a sum over the places four; five more are alpha's.
    expectWithin(
      explained!.maps[0]!.data,
      weighted((4 * (1 / 4)) / (2 + 10 / 4), (4 * (1 / 2)) / (2 + 4 / 2)),
      3 + 4 + 4 + 5 + 2,
      both,
    );
  });

  it('deep-feature-factorization: one concept of a matrix of rank one, and the class of its peak', async () => {
    const pattern = [0, 1, 2, 4];
    const image = {
      data: Float32Array.from([...pattern, ...pattern.map((value) => 3 * value), 0, 0, 0, 0]),
      shape: [1, 3, 2, 2],
    };
    const [explained] = await model.explain([image], {
      method: 'deep-feature-factorization',
      components: 1,
      layer: 'relu',
      size: 'grid',
    });
    const { maps } = explained!;
    expect(maps.length).toBe(1);
    // A matrix of rank one is its own factorization, whatever the start: the last step's two quotients of sums of four
    // and two products are all that rounds, and the quotient by the peak.
    expectWithin(
      maps[0]!.data,
      pattern.map((value) => value / 4),
      32,
      1,
    );
    // At the peak red is 4 and green 12: logits 4 + 24 + 1 and 12 - 12.
    expect(maps[0]!.target.index).toBe(0);
    // A sum of exponentials and a quotient.
    expect(Math.abs(maps[0]!.target.score - sigmoid(29))).toBeLessThanOrEqual(4 * ROUNDOFF);
  });
});

describe('on a random network', () => {
  let model: Model;
  const image = randomTensor(1, 32, 48, 5);
  const raw = { targets: [2], size: 'grid', raw: true } as const;

  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());

  it('ss-cam without noise and is-cam of one step are score-cam', async () => {
    const [scored] = await model.explain(image, { method: 'score-cam', ...raw });
    expect(Math.max(...scored!.maps[0]!.data)).toBeGreaterThan(0);
    for (const options of [
      { method: 'ss-cam', samples: 2, noise: 0, ...raw },
      { method: 'is-cam', steps: 1, ...raw },
    ] as const) {
      const map = async (seed = 0): Promise<Float32Array> =>
        (await model.explain(nudged(image, seed), options))[0]!.maps[0]!.data;
      await expectRounded(await map(), scored!.maps[0]!.data, options.method, { model, again: map });
    }
  });

  it('ablation-cam on a pooled head weighs by gradient times the sum of the channel', async () => {
    const captured = await model.capture(image, { features: ['layer4', 'fc'], gradients: { target: 2 } });
    const { data, shape } = captured.features['layer4']!;
    const gradient = captured.gradients!.features['layer4']!.data;
    const places = shape.at(-1)! * shape.at(-2)!;
    const expected = new Float32Array(places);
    for (let start = 0; start < data.length; start += places) {
      const channel = data.subarray(start, start + places);
      const weight =
        (gradient[start]! * channel.reduce((sum, value) => sum + value, 0)) /
        Math.abs(captured.features['fc']!.data[2]!);
      channel.forEach((value, i) => (expected[i]! += weight * value));
    }
    const rectified = expected.map((value) => Math.max(value, 0));
    const logitOfTwo = ({ logits }: symbolic.Run): symbolic.Value => symbolic.select(logits, 'classes', 2);
    // By the weights of the head, and, where the score is a function that may be anything, by running what lies behind.
    for (const score of ['logit', logitOfTwo] as const) {
      const explain = (seed = 0) =>
        model.explain(nudged(image, seed), { method: 'ablation-cam', layer: 'layer4', ...raw, score });
      const [explained] = await explain();
      expect(explained!.chunk === null).toBe(score === 'logit');
      await expectRounded(explained!.maps[0]!.data, rectified, 'ablation-cam', {
        model,
        again: async (seed) => (await explain(seed))[0]!.maps[0]!.data,
      });
    }
  });

  it('seeds: the same noise twice, other noise for another seed', async () => {
    for (const method of ['ss-cam', 'smooth-grad-cam++'] as const) {
      // Behind layer4 there is a pooled head, whose gradient no noise changes.
      const options = { method, layer: 'layer3', samples: 2, noise: 0.5, ...raw } as const;
      const of = async (seed: number): Promise<Float32Array> =>
        (await model.explain(image, { ...options, seed }))[0]!.maps[0]!.data;
      expect(await of(3)).toEqual(await of(3));
      await expectUnlike(await of(3), await of(4), method, model);
    }
  });
});
