import { describe, it } from 'vitest';
import { z } from 'zod';

import { defineMethod, Model, symbolic } from '../../../lib/index.js';
import { archivePath, plainCard, randomTensor } from '../../support/models.js';
import { expectRounded, nudged } from '../../support/rounding.js';

const { grad, sum } = symbolic;

/**
 * Chefer's propagation keeps the sum of relevance: 1 for a logit, from the classifier down to every block and its
 * attention.
 */
const total = (of: { readonly layer: string } | { readonly block: number }) =>
  defineMethod({
    name: 'test-total',
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific: true,
    reasonAgainst: () => null,
    map: ({ model }) => {
      const run = model.run(model.image, { rule: 'lrp' });
      const value = 'layer' in of ? run.feature(of.layer) : run.attention(of.block);
      const relevance = grad(run.score, value);
      const axes = relevance.axes.filter((axis) => axis !== 'batch');
      return { map: sum(run.image, 'channels'), figures: { total: sum(relevance, axes) } };
    },
  });

const MODELS: readonly (readonly [archive: string, size: readonly [number, number], layers: readonly string[]])[] = [
  ['timm-vit-fused-traced', [24, 40], ['blocks.0', 'blocks.1']],
  ['timm-vit-unfused-traced', [24, 40], ['blocks.0', 'blocks.1']],
  ['timm-vit-qk-norm-traced', [24, 40], ['blocks.0', 'blocks.1']],
  ['timm-deit-distilled-traced', [24, 40], ['blocks.0', 'blocks.1']],
  ['timm-dinov2-registers-traced', [24, 40], ['blocks.0', 'blocks.1']],
  ['timm-vit-average-traced', [24, 40], ['blocks.0', 'blocks.1']],
  ['torchvision-vit-traced-no-grad', [32, 32], ['encoder.layers.encoder_layer_0', 'encoder.layers.encoder_layer_1']],
];

describe.each(MODELS)('%s', (archive, size, layers) => {
  it.each(layers)('relevance at %s sums to 1 for every image of a batch', async (layer) => {
    await using model = await Model.load(archivePath(archive), { device: 'cpu', card: plainCard(...size) });
    const images = randomTensor(3, ...size, 5);
    const totals = async (seed = 0): Promise<number[]> =>
      (await model.explain(nudged(images, seed), { method: total({ layer }), targets: [1], raw: true })).map(
        ({ maps }) => maps[0]!.figures.total!,
      );
    await expectRounded(await totals(), [1, 1, 1], `relevance at ${layer}`, { model, again: totals });
  });
});
