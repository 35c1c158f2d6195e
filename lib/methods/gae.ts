import { z } from 'zod';

import { eyeLike } from '../symbolic/index.js';
import { blocksFrom, classRow, positiveContribution } from './attention-flow-row.js';
import { all, hasGlobalAttention, hasGradients } from './conditions.js';
import { defineMethod } from './method.js';

/**
 * Generic attention explainability: relevance R, the identity at first, grows in every block by the positive part of
 * attention times gradient, R = R + mean over heads of (A * dy/dA)+ R; read off at the class token.
 *
 * Chefer, Gur & Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
 * Transformers, ICCV 2021.
 */
export const gae = defineMethod({
  name: 'gae',
  options: z.strictObject({
    /** Blocks before this one, counted from 0, are left out. */
    startBlock: z.int().min(0).default(0),
  }),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasGlobalAttention),
  map: ({ model, options }) => {
    const { score } = model.output;
    const flow = blocksFrom(model, options.startBlock).map((attention) => {
      const relevance = positiveContribution(score, attention);
      return relevance.add(eyeLike(relevance));
    });
    return classRow(model, flow);
  },
});
