import { z } from 'zod';

import { grad, highest, zeroSmallest } from '../../symbolic/index.js';
import { all, hasGlobalAttention, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { aggregate, mixed, mixedByColumns } from './aggregate.js';
import { blocksBetween } from './blocks.js';
import { fuseWithGradient } from './heads.js';
import { AGGREGATION, FIELDS, presettable } from './settings.js';
import { beforeSoftmax, checkVitExplain } from './vit-explain.js';

const DEFAULTS = {
  headFusion: 'positive-part',
  discardRatio: 0,
  startBlock: 0,
  endBlock: -1,
  residualWeight: 0.5,
  rowNormalisation: true,
  combine: 'product',
  row: 'classifier',
} as const;

const PRESETS = {
  'vit-explain': { ...DEFAULTS, headFusion: 'gradient-weighted', discardRatio: 0.9 },
  // Generic attention explainability: `gae` up to the factor 2 to the power of the number of blocks.
  'chefer-2021-gae': { ...DEFAULTS, rowNormalisation: false },
  // The baseline "GradCAM" of Chefer's CVPR paper: the last block's attention as the features of Grad-CAM.
  'chefer-2021-attention-grad-cam': { ...DEFAULTS, headFusion: 'grad-cam', startBlock: -1, residualWeight: 0, rowNormalisation: false },
} as const;

/**
 * Gradient attention rollout: rollout of attention weighted by the class score's gradient, positive parts only, which
 * makes it class-specific.
 *
 * Gildenblat, Exploring Explainability for Vision Transformers, 2020, with its pairing of blocks and gradients mended;
 * positive parts are taken before heads are fused, as in Chefer et al. 2021.
 */
export const gradientRollout = defineMethod({
  name: 'gradient-rollout',
  options: presettable(
    z.strictObject({
      /** The choices of a paper or project; options that are given win over it. */
      preset: z.enum(['vit-explain', 'chefer-2021-gae', 'chefer-2021-attention-grad-cam'], { error: (issue) => `there is no preset ${JSON.stringify(issue.input)}; give ${Object.keys(PRESETS).join(', ')}` }).optional(),
      /** Computes as vit-explain's code does, bugs included: other blocks' gradients, of the scores before the softmax; columns divided by row sums; the map divided by its maximum. */
      compat: z.enum(['vit-explain'], { error: "the only one is 'vit-explain'" }).optional(),
      /** How heads of attention times gradient become one map: positive-part, gradient-weighted, grad-cam, max, min, or one head's number. */
      headFusion: FIELDS.gradientFusion.optional(),
      ...AGGREGATION,
    }),
    DEFAULTS,
    PRESETS,
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasGlobalAttention),
  map: ({ model, options }) => {
    const { score, attentions } = model.output;
    const asVitExplain = options.compat === 'vit-explain';
    if (asVitExplain) checkVitExplain(options);
    const gradientOf = (block: number): ReturnType<typeof grad> => {
      if (!asVitExplain) return grad(score, attentions[block]!);
      // vit-explain collects gradients in the order of the backward pass and pairs them with attention in that of the forward pass.
      const paired = attentions[attentions.length - 1 - block]!;
      return beforeSoftmax(paired, grad(score, paired));
    };
    const flow = blocksBetween(model, options).map((block) => {
      const fused = fuseWithGradient(model, block, attentions[block]!, gradientOf(block), options.headFusion);
      const kept = zeroSmallest(fused, options.discardRatio, false);
      return asVitExplain ? mixedByColumns(kept) : mixed(kept, options);
    });
    const map = aggregate(model, flow, options);
    return asVitExplain ? map.div(highest(map).add(1e-30)) : map;
  },
});
