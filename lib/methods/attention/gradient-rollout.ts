import { grad, zeroSmallest } from '../../symbolic/index.js';
import * as vitExplain from '../compat/vit-explain.js';
import { all, gradientReachesAttention, hasGlobalAttention, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { aggregateMixed } from './aggregate.js';
import { blocksBetween } from './blocks.js';
import { fuseWithGradient } from './heads.js';
import { ABNAR, AGGREGATION, FIELDS } from './settings.js';

/**
 * Gradient attention rollout: rollout of attention weighted by the class score's gradient, positive parts only, which
 * makes it class-specific.
 *
 * Gildenblat, Exploring Explainability for Vision Transformers, 2020, with its pairing of blocks and gradients
 * corrected;
 * positive parts are taken before heads are fused, as in Chefer et al. 2021.
 */
export const gradientRollout = defineMethod({
  name: 'gradient-rollout',
  options: withPresets(
    {
      /**
       * How heads of attention times gradient become one map: positive-part, gradient-weighted, grad-cam, max, min,
       * gradient-l1, gradient-l2, or one head's number.
       */
      headFusion: FIELDS.gradientFusion,
      ...AGGREGATION,
      /** Whose row is the map: the token that is classified (or the mean of the patches), another, or all `tokens`. */
      row: FIELDS.rows,
    },
    { headFusion: 'positive-part', ...ABNAR },
    {
      presets: {
        'vit-explain': { headFusion: 'gradient-weighted', discardRatio: 0.9 },
        // Generic attention explainability: `gae` up to the factor 2 to the power of the number of blocks.
        'chefer-2021-gae': { rowNormalization: false },
        // The baseline "GradCAM" of Chefer's CVPR paper: the last block's attention as the features of Grad-CAM.
        'chefer-2021-attention-grad-cam': {
          headFusion: 'grad-cam',
          startBlock: -1,
          residualWeight: 0,
          rowNormalization: false,
        },
        // A relu(g) is relu(A g), as attention is never negative. The paper's mean over blocks is the sum but for a
        // factor.
        'barkan-2021-grad-sam': { combine: 'sum', residualWeight: 0, rowNormalization: false, row: 'tokens' },
        'jo-2025-gmar-l1': { headFusion: 'gradient-l1' },
        'jo-2025-gmar-l2': { headFusion: 'gradient-l2' },
      },
      // Bugs included: other blocks' gradients, of the scores before the softmax; columns divided by row sums; the map
      // divided by its maximum.
      packages: { 'vit-explain': {} },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasGlobalAttention, gradientReachesAttention),
  map: ({ model, options }) => {
    const { score, attentions } = model.output;
    const flow = blocksBetween(model, options).map((block) => {
      const attention = attentions[block]!;
      const fused = fuseWithGradient(model, block, attention, grad(score, attention), options.headFusion);
      return zeroSmallest(fused, options.discardRatio, false);
    });
    return aggregateMixed(model, flow, options);
  },
  compat: { 'vit-explain': vitExplain.gradientRollout },
});
