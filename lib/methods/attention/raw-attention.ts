import { z } from 'zod';

import { hasGlobalAttention } from '../conditions.js';
import { defineMethod } from '../method.js';
import { blockOf } from './blocks.js';
import { fuseHeads } from './heads.js';
import { rowOf } from './rows.js';
import { FIELDS } from './settings.js';

/**
 * Raw attention: what the class token attends to in one block, heads fused; where there is no class token, the mean of
 * all patches. Not class-specific.
 *
 * No paper defines it; the probabilities are those of Vaswani et al., Attention Is All You Need, NeurIPS 2017.
 */
export const rawAttention = defineMethod({
  name: 'raw-attention',
  options: z.strictObject({
    /** How heads become one map: mean, max, min, or one head's number. */
    headFusion: FIELDS.headFusion.default('mean'),
    /** The block, from 0; default the last. */
    block: FIELDS.block.optional(),
    /** Whose attention: the token that is classified (or the mean of the patches), or another one. */
    row: FIELDS.row.default('classifier'),
  }),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: hasGlobalAttention,
  map: ({ model, options }) => {
    const block = blockOf(model, options.block ?? -1);
    return model.patches(
      rowOf(model, fuseHeads(model, block, model.output.attention(block), options.headFusion), options.row),
      'keys',
    );
  },
});
