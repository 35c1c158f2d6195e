import { z } from 'zod';

import type { Inspection } from '../../engine/inspection.js';
import { grad, sum, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { all, followsRule, gradientReachesImage, hasGradients } from '../conditions.js';

const GAMMA = { error: 'give a number of at least 0' };

/** The gamma rule, which AttnLRP and CP-LRP share. */
export const gammaOptions = z.strictObject({
  /** Gamma of the linear layers outside attention; 0 takes their plain rule. */
  linearGamma: z.number(GAMMA).min(0, GAMMA).default(0.05),
  /** Gamma of convolutions, such as the one that makes patches; 0 takes their plain rule. */
  convGamma: z.number(GAMMA).min(0, GAMMA).default(0.25),
});

const hasAttention = ({ attention, unknownAttention }: Inspection): string | null =>
  attention.length + unknownAttention === 0 ? 'it has no attention' : null;

export const canPropagate = (rule: 'attn-lrp' | 'cp-lrp'): ((inspection: Inspection) => string | null) =>
  all(hasGradients, hasAttention, followsRule(rule), gradientReachesImage);

/** Each pixel's relevance, signed: its value times what the rule brings back to it, summed over the color channels. */
export function pixelRelevance(
  model: SymbolicModel,
  rule: 'attn-lrp' | 'cp-lrp',
  gammas: z.output<typeof gammaOptions>,
): Value {
  const run = model.run(model.image, { rule, ...gammas });
  return sum(run.image.mul(grad(run.score, run.image)), 'channels');
}
