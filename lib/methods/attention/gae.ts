import { eyeLike, grad } from '../../symbolic/index.js';
import { all, gradientReachesAttention, hasGlobalAttention, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { aggregate } from './aggregate.js';
import { blocksBetween } from './blocks.js';
import { fuseWithGradient } from './heads.js';
import { BLOCKS, FIELDS, ROW } from './settings.js';

/**
 * Generic attention explainability: relevance R, the identity at first, grows in every block by the positive part of
 * attention times gradient, R = R + mean over heads of (A * dy/dA)+ R; read off at the class token.
 *
 * Chefer, Gur & Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
 * Transformers, ICCV 2021.
 */
export const gae = defineMethod({
  name: 'gae',
  options: withPresets(
    {
      /**
       * How heads of attention times gradient become one map: positive-part, gradient-weighted, grad-cam, max, min,
       * gradient-l1, gradient-l2, or one head's number.
       */
      headFusion: FIELDS.gradientFusion,
      ...BLOCKS,
      ...ROW,
    },
    { headFusion: 'positive-part', startBlock: 0, endBlock: -1, row: 'classifier' },
    {
      // The choices of the authors' notebooks.
      presets: {
        'chefer-2021-vit': {},
        // The notebook for CLIP explains the last block alone.
        'chefer-2021-clip': { startBlock: -1 },
      },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasGlobalAttention, gradientReachesAttention),
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
