import { z } from 'zod';

import { zeroSmallest } from '../symbolic/index.js';
import { blocksFrom, classRow, positiveContribution, withResidual } from './attention-flow-row.js';
import { all, hasGlobalAttention, hasGradients } from './conditions.js';
import { defineMethod } from './method.js';

/**
 * Gradient attention rollout: rollout of attention weighted by the class score's gradient, positive parts only, which
 * makes it class-specific.
 *
 * Gildenblat, Exploring Explainability for Vision Transformers, 2020, with its pairing of blocks and gradients mended;
 * positive parts are taken before heads are fused, as in Chefer et al. 2021.
 */
export const gradientRollout = defineMethod({
  name: 'gradient-rollout',
  options: z.strictObject({
    /** Share of each block's entries, the smallest, that is set to 0; in [0, 1). */
    discardRatio: z.number().min(0).lt(1).default(0),
    /** Blocks before this one, counted from 0, are left out. */
    startBlock: z.int().min(0).default(0),
  }),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasGlobalAttention),
  map: ({ model, options }) => {
    const { score } = model.output;
    const flow = blocksFrom(model, options.startBlock).map((attention) =>
      withResidual(zeroSmallest(positiveContribution(score, attention), options.discardRatio, false)),
    );
    return classRow(model, flow);
  },
});
