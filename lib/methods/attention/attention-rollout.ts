import { zeroSmallest } from '../../symbolic/index.js';
import * as vitExplain from '../compat/vit-explain.js';
import { hasGlobalAttention } from '../conditions.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { aggregateMixed } from './aggregate.js';
import { blocksBetween } from './blocks.js';
import { fuseHeads } from './heads.js';
import { ABNAR, AGGREGATION, FIELDS } from './settings.js';

/**
 * Attention rollout: the product over blocks of head-fused attention with its residual, read off at the class token.
 * Not class-specific.
 *
 * Abnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020. Fusing heads by `max` or `min` and discarding
 * weak attention are additions of the vit-explain project; the entry [class token, class token] is never discarded.
 */
export const attentionRollout = defineMethod({
  name: 'attention-rollout',
  options: withPresets(
    {
      /** How heads become one map: mean, max, min, or one head's number. */
      headFusion: FIELDS.headFusion,
      ...AGGREGATION,
    },
    { headFusion: 'mean', ...ABNAR },
    {
      presets: {
        'abnar-2020': {},
        mmeendez8: {},
        // generate_rollout has start_layer 0, but every evaluation of the paper's repository calls it with 1.
        'chefer-2021-rollout': { startBlock: 1 },
        // The default of its command line.
        'vit-explain': { headFusion: 'max', discardRatio: 0.9 },
      },
      // Bugs included: columns divided by row sums, the map divided by its maximum.
      packages: { 'vit-explain': {} },
    },
  ),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: hasGlobalAttention,
  map: ({ model, options }) => {
    const flow = blocksBetween(model, options).map((block) => {
      const fused = fuseHeads(model, block, model.output.attention(block), options.headFusion);
      return zeroSmallest(fused, options.discardRatio, true);
    });
    return aggregateMixed(model, flow, options);
  },
  compat: { 'vit-explain': vitExplain.attentionRollout },
});
