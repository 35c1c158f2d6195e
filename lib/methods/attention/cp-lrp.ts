import { defineMethod } from '../method.js';
import { canPropagate, gammaOptions, pixelRelevance } from './gradient-times-input.js';

/**
 * CP-LRP: each pixel's share in the score, by layer-wise relevance propagation. Attention's probabilities are taken as
 * constants, so that relevance flows through the values alone. Signed; positive pixels speak for the class.
 *
 * Ali et al., XAI for Transformers: Better Explanations through Conservative Propagation, ICML 2022; gamma rule as in
 * Achtibat et al. 2024.
 */
export const cpLrp = defineMethod({
  name: 'cp-lrp',
  options: gammaOptions,
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: canPropagate('cp-lrp'),
  map: ({ model, options }) => pixelRelevance(model, 'cp-lrp', options),
});
