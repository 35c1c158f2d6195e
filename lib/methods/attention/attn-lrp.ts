import { defineMethod } from '../method.js';
import { canPropagate, gammaOptions, pixelRelevance } from './gradient-times-input.js';

/**
 * AttnLRP: each pixel's share in the score, by layer-wise relevance propagation through attention's softmax and
 * products, layer norms and activations. Signed; positive pixels speak for the class.
 *
 * Achtibat et al., AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers, ICML 2024; its authors
 * state that the technique is patented outside research.
 */
export const attnLrp = defineMethod({
  name: 'attn-lrp',
  options: gammaOptions,
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: canPropagate('attn-lrp'),
  map: ({ model, options }) => pixelRelevance(model, 'attn-lrp', options),
});
