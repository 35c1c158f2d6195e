import { z } from 'zod';

import { SightlineError } from '../errors.js';
import { fuseHeads, HEAD_FUSIONS, pooledRow } from './attention-flow-row.js';
import { hasGlobalAttention } from './conditions.js';
import { defineMethod } from './method.js';

/** What the class token attends to in one block, heads fused; where there is no class token, the mean of all patches. */
export const rawAttention = defineMethod({
  name: 'raw-attention',
  options: z.strictObject({
    /** How heads become one map. */
    headFusion: z.enum(HEAD_FUSIONS).default('mean'),
    /** The block, from 0; default the last. */
    block: z.int().min(0).optional(),
  }),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: hasGlobalAttention,
  map: ({ model, options }) => {
    const count = model.inspection.attention.length;
    const block = options.block ?? count - 1;
    if (block >= count) throw new SightlineError('INVALID_OPTION', `block is ${block}, but the model has ${count} attention blocks, numbered from 0.`);
    return model.patches(pooledRow(model, fuseHeads(model.output.attention(block), options.headFusion)), 'keys');
  },
});
