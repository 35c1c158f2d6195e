import { z } from 'zod';

import { zeroSmallest } from '../symbolic/index.js';
import { blocksFrom, classRow, fuseHeads, HEAD_FUSIONS, withResidual } from './attention-flow-row.js';
import { hasGlobalAttention } from './conditions.js';
import { defineMethod } from './method.js';

/**
 * Attention rollout: the product over blocks of head-fused attention with its residual, read off at the class token.
 * Not class-specific.
 *
 * Abnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020. Fusing heads by `max` or `min` and discarding
 * weak attention are additions of the vit-explain project; the entry [class token, class token] is never discarded.
 */
export const attentionRollout = defineMethod({
  name: 'attention-rollout',
  options: z.strictObject({
    /** How heads become one map. */
    headFusion: z.enum(HEAD_FUSIONS).default('mean'),
    /** Share of each block's entries, the smallest, that is set to 0; in [0, 1). */
    discardRatio: z.number().min(0).lt(1).default(0),
    /** Blocks before this one, counted from 0, are left out. */
    startBlock: z.int().min(0).default(0),
  }),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: hasGlobalAttention,
  map: ({ model, options }) => {
    const flow = blocksFrom(model, options.startBlock).map((attention) =>
      withResidual(zeroSmallest(fuseHeads(attention, options.headFusion), options.discardRatio, true)),
    );
    return classRow(model, flow);
  },
});
