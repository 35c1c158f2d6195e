import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../../lib/index.js';
import { pixelsOf } from '../../support/models.js';
import { expectRounded, nudged } from '../../support/rounding.js';
import {
  imagesOf,
  loadSubject,
  mapAt,
  pictureOf,
  referenceOf,
  SUBJECTS,
  targetsOf,
  unit,
  type Case,
} from './references.js';

/** What docs/parity.md promises of min-max maps. */
const PROMISED = 1e-4;

/** The name of a reference's map, with the options that make it. */
const CASES: readonly Case[] = [
  ['raw.block0.head1', { method: 'raw-attention', block: 0, headFusion: 1 }],
  ['raw.min', { method: 'raw-attention', headFusion: 'min' }],
  ['raw.patches', { method: 'raw-attention', row: 'patches' }],
  ['raw.token3', { method: 'raw-attention', row: 3, block: -1 }],
  ['rollout.head1', { method: 'attention-rollout', headFusion: 1 }],
  ['rollout.no-residual', { method: 'attention-rollout', residualWeight: 0 }],
  ['rollout.residual-0.8', { method: 'attention-rollout', residualWeight: 0.8 }],
  ['rollout.max.not-normalised', { method: 'attention-rollout', headFusion: 'max', rowNormalization: false }],
  ['rollout.sum', { method: 'attention-rollout', combine: 'sum' }],
  ['rollout.end0', { method: 'attention-rollout', endBlock: 0 }],
  ['rollout.patches', { method: 'attention-rollout', row: 'patches' }],
  ['rollout.distillation', { method: 'attention-rollout', row: 'distillation-token' }],
  ['gradient.weighted', { method: 'gradient-rollout', headFusion: 'gradient-weighted' }],
  ['gradient.max', { method: 'gradient-rollout', headFusion: 'max' }],
  ['gradient.head0', { method: 'gradient-rollout', headFusion: 0 }],
  [
    'gradient.sum.no-residual',
    { method: 'gradient-rollout', combine: 'sum', residualWeight: 0, rowNormalization: false },
  ],
  ['abnar.rollout', { method: 'attention-rollout', preset: 'abnar-2020' }],
  ['abnar.rollout.no-residual', { method: 'attention-rollout', preset: 'abnar-2020', residualWeight: 0 }],
  ['mmeendez8.rollout', { method: 'attention-rollout', preset: 'mmeendez8' }],
  ['chefer.rollout', { method: 'attention-rollout' }],
  ['chefer.rollout.start1', { method: 'attention-rollout', preset: 'chefer-2021-rollout' }],
  ['chefer.gae', { method: 'gae', preset: 'chefer-2021-vit' }],
  ['chefer.gae', { method: 'gradient-rollout', preset: 'chefer-2021-gae' }],
  ['chefer.gae.last', { method: 'gae', preset: 'chefer-2021-clip' }],
  ['chefer.attention-grad-cam', { method: 'gradient-rollout', preset: 'chefer-2021-attention-grad-cam' }],
  ['vit-explain.max.0.9', { method: 'attention-rollout', preset: 'vit-explain', compat: 'vit-explain' }],
  [
    'vit-explain.mean.0.9',
    { method: 'attention-rollout', preset: 'vit-explain', headFusion: 'mean', compat: 'vit-explain' },
  ],
  ['vit-explain.min.0', { method: 'attention-rollout', headFusion: 'min', compat: 'vit-explain' }],
  ['vit-explain.max.0', { method: 'attention-rollout', headFusion: 'max', compat: 'vit-explain' }],
  ['vit-explain.gradient.0.9', { method: 'gradient-rollout', preset: 'vit-explain', compat: 'vit-explain' }],
  [
    'vit-explain.gradient.0',
    { method: 'gradient-rollout', preset: 'vit-explain', discardRatio: 0, compat: 'vit-explain' },
  ],
  ['flow', { method: 'attention-flow' }],
  ['norms.2020', { method: 'attention-norms' }],
  ['norms.2020.block0', { method: 'attention-norms', block: 0 }],
  ['norms.2020.rollout', { method: 'attention-norms', rollout: true }],
  ['norms.residual', { method: 'attention-norms', variant: 'residual' }],
  ['norms.residual.block0', { method: 'attention-norms', variant: 'residual', block: 0 }],
  ['norms.residual.rollout', { method: 'attention-norms', variant: 'residual', rollout: true }],
  ['norms.residual-norm', { method: 'attention-norms', variant: 'residual-norm' }],
  ['norms.residual-norm.block0', { method: 'attention-norms', variant: 'residual-norm', block: 0 }],
  ['norms.residual-norm.rollout', { method: 'attention-norms', variant: 'residual-norm', rollout: true }],
  ['zeroing', { method: 'value-zeroing' }],
  ['zeroing.block0', { method: 'value-zeroing', block: 0 }],
  ['zeroing.rollout', { method: 'value-zeroing', rollout: true }],
  ['le-grad.mean', { method: 'le-grad' }],
  ['le-grad.mean.last', { method: 'le-grad', startBlock: -1 }],
  ['le-grad.model', { method: 'le-grad', pooling: 'model' }],
  ['le-grad.torchcam', { method: 'le-grad' }],
  ['le-grad.torchcam.last', { method: 'le-grad', startBlock: -1 }],
];

describe.each(SUBJECTS)('%s', (subject) => {
  const reference = referenceOf(subject);
  const images = imagesOf(reference);
  const targets = targetsOf(reference);
  let model: Model;

  beforeAll(async () => {
    model = await loadSubject(subject, reference);
  });
  afterAll(() => model.close());

  it.each(
    CASES.filter(([key]) => reference.has(`maps.${key}`)).map(
      ([key, options]) => [key, JSON.stringify(options), options] as const,
    ),
  )('%s: %s', async (key, _, options) => {
    const expected = reference.get(`maps.${key}`)!;
    const request = { ...options, size: 'grid', raw: true } as const;
    const explained = await model.explain(images, { ...request, targets });
    for (let i = 0; i < expected.shape[0]!; i++) {
      const map = explained[i]!.maps[0]!;
      const peer = mapAt(expected, i);
      expect(map.shape).toEqual(peer.shape);
      // vit-explain's own scale is part of what is repeated.
      const compared = key.startsWith('vit-explain') ? [unit, (data: Float32Array) => data] : [unit];
      for (const of of compared) {
        const again = async (seed: number): Promise<Float32Array> =>
          of(
            (
              await model.explain(
                nudged(pictureOf(await pixelsOf(model, images.length === 1 ? images[0]! : images[i]!), i), seed),
                { ...request, targets: targets[i]! },
              )
            )[0]!.maps[0]!.data,
          );
        await expectRounded(of(map.data), of(peer.data), `${subject} ${key}, image ${i}`, {
          model,
          again,
          promised: PROMISED,
        });
      }
    }
  });

  it('reports the mixing ratios of norm-analysis', async () => {
    for (const variant of ['2020', 'residual', 'residual-norm'] as const) {
      const ratios = (key: string): Float32Array => reference.get(`maps.norms.${variant}.${key}`)!.data as Float32Array;
      for (const [key, figure, rollout] of [
        ['mixing', 'mixingRatio', false],
        ['row-mixing', 'rowMixingRatio', false],
        ['mixing.rollout', 'mixingRatio', true],
      ] as const) {
        const request = { method: 'attention-norms', variant, rollout } as const;
        const explained = await model.explain(images, request);
        for (const [i, { maps }] of explained.entries()) {
          const again = async (seed: number): Promise<number[]> => {
            const pixels = pictureOf(await pixelsOf(model, images.length === 1 ? images[0]! : images[i]!), i);
            return [(await model.explain(nudged(pixels, seed), request))[0]!.maps[0]!.figures[figure]!];
          };
          await expectRounded([maps[0]!.figures[figure]!], [ratios(key)[i]!], `${variant} ${key}, image ${i}`, {
            model,
            again,
            promised: PROMISED,
          });
        }
      }
    }
  });
});
