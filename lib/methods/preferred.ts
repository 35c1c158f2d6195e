import { SightlineError } from '../support/errors.js';
import type { Inspection } from '../engine/inspection.js';
import { METHODS, type MethodName } from './index.js';

/**
 * In this order: exact where the head allows it; of attention, what it says by itself; gradients for all the rest. The
 * first that applies explains a model where no method is named.
 */
const PREFERRED = ['cam', 'attention-rollout', 'grad-cam'] as const satisfies readonly MethodName[];

/** What is said of the choice where users read of it. */
export const PREFERENCE = 'cam where the model pools into one linear layer, else attention-rollout, else grad-cam';

/** @throws SightlineError METHOD_NOT_APPLICABLE where none of them applies, with the reason against each. */
export function preferredMethod(inspection: Inspection, model: string): MethodName {
  const reasons: string[] = [];
  for (const name of PREFERRED) {
    const reason = METHODS[name].reasonAgainst(inspection);
    if (reason === null) return name;
    reasons.push(`${name}: ${reason}`);
  }
  throw new SightlineError(
    'METHOD_NOT_APPLICABLE',
    `Name a method; none of those that are tried by themselves can explain ${model} (${reasons.join('; ')}).`,
  );
}
