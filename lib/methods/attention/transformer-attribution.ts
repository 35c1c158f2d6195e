import { eyeLike, grad, mean, relu } from '../../symbolic/index.js';
import { all, followsRule, gradientReachesAttention, hasGlobalAttention, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { aggregate } from './aggregate.js';
import { blocksBetween } from './blocks.js';
import { BLOCKS, ROW } from './settings.js';

/**
 * Transformer attribution: in every block, the relevance of attention by layer-wise relevance propagation times its
 * gradient, positive parts, mean over heads, plus the identity; all blocks multiplied, without dividing rows by their
 * sums; read off at the class token.
 *
 * Chefer, Gur & Wolf, Transformer Interpretability Beyond Attention Visualization, CVPR 2021.
 */
export const transformerAttribution = defineMethod({
  name: 'transformer-attribution',
  options: withPresets(
    { ...BLOCKS, ...ROW },
    { startBlock: 0, endBlock: -1, row: 'classifier' },
    {
      // The choices of the authors' notebook and of their evaluation scripts.
      presets: {
        'chefer-2021-notebook': {},
        // The perturbation and segmentation scripts leave the first block out.
        'chefer-2021-evaluation': { startBlock: 1 },
      },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasGlobalAttention, followsRule('lrp'), gradientReachesAttention),
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
