import { z } from 'zod';

import { eyeLike, grad, mean, relu } from '../../symbolic/index.js';
import { all, hasGlobalAttention, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { aggregate } from './aggregate.js';
import { blocksBetween } from './blocks.js';
import { FIELDS, presettable } from './settings.js';

const DEFAULTS = { startBlock: 0, endBlock: -1, row: 'classifier' } as const;

const PRESETS = {
  'chefer-2021-notebook': DEFAULTS,
  // The perturbation and segmentation scripts leave the first block out.
  'chefer-2021-evaluation': { ...DEFAULTS, startBlock: 1 },
} as const;

/**
 * Transformer attribution: in every block, the relevance of attention by layer-wise relevance propagation times its
 * gradient, positive parts, mean over heads, plus the identity; all blocks multiplied, without dividing rows by their
 * sums; read off at the class token.
 *
 * Chefer, Gur & Wolf, Transformer Interpretability Beyond Attention Visualization, CVPR 2021.
 */
export const transformerAttribution = defineMethod({
  name: 'transformer-attribution',
  options: presettable(
    z.strictObject({
      /** The choices of the authors' notebook or of their evaluation scripts; options that are given win over it. */
      preset: z.enum(['chefer-2021-notebook', 'chefer-2021-evaluation'], { error: (issue) => `there is no preset ${JSON.stringify(issue.input)}; give ${Object.keys(PRESETS).join(', ')}` }).optional(),
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
    const propagated = model.run(model.image, { rule: 'lrp' });
    const { output } = model;
    // Each read of a score is a step of its own: one for all blocks, so that one backward pass serves them all.
    const [score, propagatedScore] = [output.score, propagated.score];
    const flow = blocksBetween(model, options).map((block) => {
      // Under the rule, what arrives at the attention in place of its gradient is its relevance.
      const relevance = grad(propagatedScore, propagated.attention(block));
      const fused = mean(relu(grad(score, output.attention(block)).mul(relevance)), 'heads');
      return fused.add(eyeLike(fused));
    });
    return aggregate(model, flow, { combine: 'product', row: options.row });
  },
});
