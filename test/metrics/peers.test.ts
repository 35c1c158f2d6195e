import { readFileSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { defineMethod, symbolic, type JudgingMetric, type Model } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';
import { channelSum, imageAt, sumOfChannels } from './reference.js';

/** What test/parity/metrics/figures.py wrote: figures of other packages, and of plain PyTorch in float64. */
const recorded = JSON.parse(readFileSync(new URL('../parity/metrics/figures.json', import.meta.url), 'utf8')) as {
  readonly images: readonly Readonly<Record<string, Readonly<Record<string, number>>>>[];
};

const [HEIGHT, WIDTH] = [24, 40];
const images = randomTensor(2, HEIGHT, WIDTH, 5);
const positiveSum = defineMethod({
  ...channelSum,
  name: 'positive-sum',
  map: ({ model }) => symbolic.relu(symbolic.sum(model.image, 'channels')),
});

let model: Model;
beforeAll(async () => {
  model = await loadSmall('timm-vit-fused-traced');
});
afterAll(() => model.close());

const CASES: readonly [name: string, of: string, metric: JudgingMetric][] = [
  ['torch-cam', 'deletion_auc', { metric: 'deletion', compat: 'torch-cam' }],
  ['torch-cam', 'insertion_auc', { metric: 'insertion', compat: 'torch-cam' }],
  ['torch-cam', 'avg_drop', 'average-drop'],
  ['torch-cam', 'conf_increase', 'increase-in-confidence'],
  ['network', 'infidelity', { metric: 'infidelity', samples: 12, noise: 0.2, seed: 7 }],
  ['network', 'infidelity-own', { metric: 'infidelity', samples: 12, noise: 0.2, seed: 7, scale: 'own' }],
  ['network', 'max-sensitivity', { metric: 'max-sensitivity', samples: 12, radius: 0.02, seed: 7 }],
  ['network', 'faithfulness-correlation', { metric: 'faithfulness-correlation', samples: 12, pixels: 100, seed: 7 }],
  ['network', 'road', { metric: 'road', seed: 7 }],
  ['network', 'road-morf', { metric: 'road-morf', seed: 7 }],
  ['network', 'road-lerf', { metric: 'road-lerf', seed: 7 }],
  ['quantus', 'pointing-game', 'pointing-game'],
  ['quantus', 'mass-accuracy', 'mass-accuracy'],
  ['quantus', 'rank-accuracy', 'rank-accuracy'],
  ['quantus', 'top-k-intersection', { metric: 'top-k-intersection', pixels: 100 }],
  ['quantus', 'localization-auc', 'localization-auc'],
  ['quantus', 'sparseness', 'sparseness'],
  ['quantus', 'complexity', 'complexity'],
];

describe('a metric gives the figure of', () => {
  it.each(CASES)('%s: %s', async (peer, name, metric) => {
    const figures = async (seed: number): Promise<number[]> => {
      const { judgements } = await model.evaluate(nudged(images, seed), {
        methods: [{ method: peer === 'quantus' ? positiveSum : channelSum }],
        metrics: [metric],
        targets: [3],
        objects: [0, 1].map(() => ({ boxes: [{ left: 10, top: 6, width: 18, height: 9 }] })),
      });
      return judgements.map((each) => Object.values(each.figures)[0]!);
    };
    const expected = recorded.images.map((image) => image[peer]![name]!);
    // Packages and sightline hold to what the documentation promises, 1e-4 of the value.
    await expectRounded(await figures(0), expected, name, { model, again: figures, promised: 1e-4 });
  });

  it('quantus: effective-complexity, whose threshold is of the unit of the map', async () => {
    const thresholds = [0, 1].map((i) => 0.5 / Math.max(...sumOfChannels(imageAt(images, i))));
    for (const [i, threshold] of thresholds.entries()) {
      const { judgements } = await model.evaluate(images, {
        methods: [{ method: positiveSum }],
        metrics: [{ metric: 'effective-complexity', threshold }],
      });
      expect(judgements[i]!.figures['effective-complexity']).toBe(
        recorded.images[i]!['quantus']!['effective-complexity'],
      );
    }
  });
});
