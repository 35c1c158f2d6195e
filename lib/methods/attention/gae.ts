import { z } from 'zod';

import { eyeLike, grad } from '../../symbolic/index.js';
import { all, hasGlobalAttention, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { aggregate } from './aggregate.js';
import { blocksBetween } from './blocks.js';
import { fuseWithGradient } from './heads.js';
import { FIELDS, presettable } from './settings.js';

const DEFAULTS = { headFusion: 'positive-part', startBlock: 0, endBlock: -1, row: 'classifier' } as const;

const PRESETS = {
  'chefer-2021-vit': DEFAULTS,
  // The notebook for CLIP explains the last block alone.
  'chefer-2021-clip': { ...DEFAULTS, startBlock: -1 },
} as const;

/**
 * Generic attention explainability: relevance R, the identity at first, grows in every block by the positive part of
 * attention times gradient, R = R + mean over heads of (A * dy/dA)+ R; read off at the class token.
 *
 * Chefer, Gur & Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
 * Transformers, ICCV 2021.
 */
export const gae = defineMethod({
  name: 'gae',
  options: presettable(
    z.strictObject({
      /** The choices of one of the authors' notebooks; options that are given win over it. */
      preset: z.enum(['chefer-2021-vit', 'chefer-2021-clip'], { error: (issue) => `there is no preset ${JSON.stringify(issue.input)}; give ${Object.keys(PRESETS).join(', ')}` }).optional(),
      /** How heads of attention times gradient become one map: positive-part, gradient-weighted, grad-cam, max, min, or one head's number. */
      headFusion: FIELDS.gradientFusion.optional(),
      /** The first block, from 0; negative numbers count from the end. */
      startBlock: FIELDS.block.optional(),
      /** The last block, included; default -1, the model's last. */
      endBlock: FIELDS.block.optional(),
      /** Whose row is the map: the token that is classified (or the mean of the patches), or another one. */
      row: FIELDS.row.optional(),
    }),
    DEFAULTS,
    PRESETS,
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasGlobalAttention),
  map: ({ model, options }) => {
    const { score } = model.output;
    const flow = blocksBetween(model, options).map((block) => {
      const attention = model.output.attention(block);
      const relevance = fuseWithGradient(model, block, attention, grad(score, attention), options.headFusion);
      return relevance.add(eyeLike(relevance));
    });
    return aggregate(model, flow, { combine: 'product', row: options.row });
  },
});
