import { z } from 'zod';

import { highest, zeroSmallest } from '../../symbolic/index.js';
import { hasGlobalAttention } from '../conditions.js';
import { defineMethod } from '../method.js';
import { aggregate, mixed, mixedByColumns } from './aggregate.js';
import { blocksBetween } from './blocks.js';
import { checkVitExplain } from './vit-explain.js';
import { fuseHeads } from './heads.js';
import { AGGREGATION, FIELDS, presettable } from './settings.js';

/** Abnar & Zuidema's own choices, which mmeendez8's article repeats. */
const DEFAULTS = {
  headFusion: 'mean',
  discardRatio: 0,
  startBlock: 0,
  endBlock: -1,
  residualWeight: 0.5,
  rowNormalisation: true,
  combine: 'product',
  row: 'classifier',
} as const;

const PRESETS = {
  'abnar-2020': DEFAULTS,
  mmeendez8: DEFAULTS,
  // generate_rollout has start_layer 0, but every evaluation of the paper's repository calls it with 1.
  'chefer-2021-rollout': { ...DEFAULTS, startBlock: 1 },
  // What its command line does unless told otherwise.
  'vit-explain': { ...DEFAULTS, headFusion: 'max', discardRatio: 0.9 },
} as const;

/**
 * Attention rollout: the product over blocks of head-fused attention with its residual, read off at the class token.
 * Not class-specific.
 *
 * Abnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020. Fusing heads by `max` or `min` and discarding
 * weak attention are additions of the vit-explain project; the entry [class token, class token] is never discarded.
 */
export const attentionRollout = defineMethod({
  name: 'attention-rollout',
  options: presettable(
    z.strictObject({
      /** The choices of a paper or project; options that are given win over it. */
      preset: z.enum(['abnar-2020', 'chefer-2021-rollout', 'vit-explain', 'mmeendez8'], { error: (issue) => `there is no preset ${JSON.stringify(issue.input)}; give ${Object.keys(PRESETS).join(', ')}` }).optional(),
      /** Computes as vit-explain's code does, bugs included: columns divided by row sums, the map divided by its maximum. */
      compat: z.enum(['vit-explain'], { error: "the only one is 'vit-explain'" }).optional(),
      /** How heads become one map: mean, max, min, or one head's number. */
      headFusion: FIELDS.headFusion.optional(),
      ...AGGREGATION,
    }),
    DEFAULTS,
    PRESETS,
  ),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: hasGlobalAttention,
  map: ({ model, options }) => {
    if (options.compat === 'vit-explain') checkVitExplain(options);
    const flow = blocksBetween(model, options).map((block) => {
      const fused = fuseHeads(model, block, model.output.attention(block), options.headFusion);
      const kept = zeroSmallest(fused, options.discardRatio, true);
      return options.compat === 'vit-explain' ? mixedByColumns(kept) : mixed(kept, options);
    });
    const map = aggregate(model, flow, options);
    return options.compat === 'vit-explain' ? map.div(highest(map).add(1e-30)) : map;
  },
});
