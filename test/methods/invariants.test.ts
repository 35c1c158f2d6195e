import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model, MethodName, NamedOptions } from '../../lib/index.js';
import { expectRounded, nudged, ROUNDOFF } from '../support/rounding.js';
import { loadSmall, randomTensor } from '../support/models.js';

const CASES: readonly (readonly [
  archive: string,
  size: readonly [number, number],
  methods: readonly NamedOptions<MethodName>[],
])[] = [
  [
    'torchvision-resnet-traced',
    [32, 48],
    [{ method: 'cam' }, { method: 'grad-cam' }, { method: 'grad-cam', layer: ['layer3', 'layer4'] }],
  ],
  [
    'timm-vit-fused-traced',
    [24, 40],
    [
      { method: 'grad-cam' },
      { method: 'raw-attention' },
      { method: 'attention-rollout', headFusion: 'max', discardRatio: 0.9 },
      { method: 'gradient-rollout' },
      { method: 'gae' },
    ],
  ],
];

describe.each(CASES)('%s', (archive, size, methods) => {
  let model: Model;
  const images = randomTensor(5, ...size, 11);
  const one = (i: number): { data: Float32Array; shape: number[] } => ({
    data: images.data.slice(i * 3 * size[0] * size[1], (i + 1) * 3 * size[0] * size[1]),
    shape: [1, 3, ...size],
  });

  beforeAll(async () => {
    model = await loadSmall(archive);
  });
  afterAll(() => model.close());

  describe.each(methods.map((options) => [JSON.stringify(options), options] as const))('%s', (_, options) => {
    it('gives a batch what it gives single images', async () => {
      const batch = await model.explain(images, { ...options, targets: ['top2'], raw: true });
      for (let i = 0; i < 5; i++) {
        const explain = (seed = 0) => model.explain(nudged(one(i), seed), { ...options, targets: ['top2'], raw: true });
        const [single] = await explain();
        for (const t of [0, 1]) {
          expect(single!.maps[t]!.target.index).toBe(batch[i]!.maps[t]!.target.index);
          await expectRounded(single!.maps[t]!.data, batch[i]!.maps[t]!.data, `image ${i}, target ${t}`, {
            model,
            again: async (seed) => (await explain(seed))[0]!.maps[t]!.data,
          });
        }
      }
    });

    it('gives two targets what it gives in two calls', async () => {
      const [both] = await model.explain(one(0), { ...options, targets: [1, 4] });
      for (const [t, target] of [1, 4].entries()) {
        const explain = (seed = 0) => model.explain(nudged(one(0), seed), { ...options, targets: [target] });
        const [alone] = await explain();
        await expectRounded(alone!.maps[0]!.data, both!.maps[t]!.data, `target ${target}`, {
          model,
          again: async (seed) => (await explain(seed))[0]!.maps[0]!.data,
        });
        expect(both!.maps[t]!.target.index).toBe(target);
      }
    });

    it('gives each image its own targets', async () => {
      const explained = await model.explain([one(0), one(1)], { ...options, targets: [[2], [5]] });
      expect(explained.map(({ maps }) => maps[0]!.target.index)).toEqual([2, 5]);
      const explain = (seed = 0) => model.explain(nudged(one(1), seed), { ...options, targets: [5] });
      const [second] = await explain();
      await expectRounded(second!.maps[0]!.data, explained[1]!.maps[0]!.data, 'the second image', {
        model,
        again: async (seed) => (await explain(seed))[0]!.maps[0]!.data,
      });
    });

    it('brings maps of image size to [0, 1], and keeps their raw range', async () => {
      const [scaled] = await model.explain(one(0), { ...options, targets: [1] });
      const [raw] = await model.explain(one(0), { ...options, targets: [1], raw: true });
      const [map, own] = [scaled!.maps[0]!, raw!.maps[0]!];
      expect(map.shape).toEqual(size);
      // Of two calls, whose plans are not the same.
      const rawRange = async (seed: number): Promise<number[]> => {
        const [nudgedOne] = await model.explain(nudged(one(0), seed), { ...options, targets: [1], raw: true });
        return [nudgedOne!.maps[0]!.min, nudgedOne!.maps[0]!.max];
      };
      const range = [Math.min(...own.data), Math.max(...own.data)];
      await expectRounded([map.min, map.max], range, 'the raw range', { model, again: rawRange });
      if (map.state === 'ok') {
        expect(Math.min(...map.data)).toBe(0);
        // A difference and a quotient.
        expect(Math.abs(Math.max(...map.data) - 1)).toBeLessThanOrEqual(4 * ROUNDOFF);
        const unitOf = ({ data, min, max }: typeof own): Float32Array =>
          data.map((value) => (value - min) / (max - min));
        await expectRounded(map.data, unitOf(own), 'the map in [0, 1]', {
          model,
          again: async (seed) =>
            unitOf((await model.explain(nudged(one(0), seed), { ...options, targets: [1], raw: true }))[0]!.maps[0]!),
        });
      }
    });

    it('repeats to the bit', async () => {
      const [first] = await model.explain(one(2), options);
      const [second] = await model.explain(one(2), options);
      expect(second!.maps[0]!.data).toEqual(first!.maps[0]!.data);
    });
  });

  it('predicts by softmax over the logits', async () => {
    const node = archive.startsWith('timm') ? 'head' : 'fc';
    const [explained] = await model.explain(one(0), { ...methods[0]! });
    const softmax = async (seed = 0): Promise<number[]> => {
      const logits = [...(await model.capture(nudged(one(0), seed), { features: [node] })).features[node]!.data];
      const exponentials = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
      const total = exponentials.reduce((a, b) => a + b);
      return exponentials.map((value) => value / total);
    };
    const expected = (await softmax()).map((score, index) => ({ index, score })).sort((a, b) => b.score - a.score);
    expect(explained!.predictions.map(({ index }) => index)).toEqual(expected.slice(0, 5).map(({ index }) => index));
    await expectRounded(
      explained!.predictions.map(({ score }) => score),
      expected.slice(0, 5).map(({ score }) => score),
      'the scores',
      {
        model,
        again: async (seed) => {
          const scores = await softmax(seed);
          return expected.slice(0, 5).map(({ index }) => scores[index]!);
        },
      },
    );
  });

  it('runs no operator behind the last tap', async () => {
    const { nodes, operators } = await model.inspect();
    const early = nodes.find(({ name }) => name === (archive.startsWith('timm') ? 'blocks.0' : 'layer1'))!;
    const late = nodes.find(({ name }) => name === (archive.startsWith('timm') ? 'blocks.1' : 'layer4'))!;
    const [first, last] = [
      await model.capture(one(0), { features: [early.name] }),
      await model.capture(one(0), { features: [late.name] }),
    ];
    expect(first.operators).toBeLessThan(last.operators * 0.7);
    expect(last.operators).toBeLessThan(operators);
  });
});

describe('flat and empty maps', () => {
  it('reports a map without a maximum instead of painting NaN', async () => {
    await using model = await loadSmall('torchvision-resnet-traced');
    const { nodes } = await model.inspect();
    expect(nodes.some(({ name }) => name === 'avgpool')).toBe(true);
    // Class 0's Grad-CAM at layer4 is relu of a weighted sum: find a class for which nothing is positive, or none.
    const explained = await model.explain(
      { data: new Float32Array(3 * 32 * 48), shape: [1, 3, 32, 48] },
      { method: 'grad-cam', targets: [0, 1, 2, 3, 4, 5, 6] },
    );
    for (const map of explained[0]!.maps) {
      expect([...map.data].every(Number.isFinite)).toBe(true);
      if (map.max - map.min === 0) {
        expect(map.state).toBe('flat');
        expect(Math.max(...map.data)).toBe(0);
      }
    }
    expect(explained[0]!.maps.some(({ state }) => state === 'flat')).toBe(true);
  });
});
