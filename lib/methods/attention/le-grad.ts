import { add, expandLike, grad, mean, relu } from '../../symbolic/index.js';
import { all, gradientReachesAttention, hasGlobalAttention, hasGradients } from '../conditions.js';
import { oneOf } from '../fields.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { blockOutputOf, hasBlockOutputs } from './block-outputs.js';
import { blocksBetween } from './blocks.js';
import { BLOCKS } from './settings.js';

/**
 * LeGrad: each block's output is classified by the model's own head. The score's gradient with respect to that block's
 * attention, positive part, is averaged over heads, queries and blocks. Attention itself is not multiplied in.
 *
 * Bousselham, Boggust, Chaybouti, Strobelt & Kuehne, LeGrad: An Explainability Method for Vision Transformers via
 * Feature Formation Sensitivity, ICCV 2025.
 */
export const leGrad = defineMethod({
  name: 'le-grad',
  options: withPresets(
    {
      /**
       * The tokens of a block's output that the head reads: the mean of all tokens, or the tokens as they are (the
       * class token, in most models).
       */
      pooling: oneOf('mean', 'model'),
      ...BLOCKS,
    },
    { pooling: 'mean', startBlock: 0, endBlock: -1 },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasGlobalAttention, hasBlockOutputs, gradientReachesAttention),
  map: ({ model, options }) => {
    const blocks = blocksBetween(model, options);
    const last = model.output.feature(blockOutputOf(model, model.inspection.attention.length - 1));
    const relevance = blocks.map((block) => {
      const tokens = model.output.feature(blockOutputOf(model, block));
      // Every token becomes the mean, so whichever the head reads, it reads the mean.
      const read = options.pooling === 'mean' ? expandLike(mean(tokens, 'tokens'), tokens) : tokens;
      const { score } = model.resume([{ of: last, to: read }]);
      return mean(relu(grad(score, model.output.attention(block))), ['heads', 'queries']);
    });
    return model.patches(relevance.reduce((total, next) => add(total, next)).div(blocks.length), 'keys');
  },
});
