import { z } from 'zod';

import { count, oneOf } from '../methods/fields.js';
import { baselineSchema, type Baseline } from '../methods/gradients/baseline.js';
import { greaterEqual, max, type Run, type SymbolicModel, type Value } from '../symbolic/index.js';

/**
 * What is read of a run: the class's `probability`, its `logit`, or `top1`: 1 while the class is the predicted one,
 * else 0.
 */
export const scoreOption = oneOf('probability', 'logit', 'top1');
export type ScoreKind = z.output<typeof scoreOption>;

/** The score of the class asked for: [batch]. */
export function scoreIn(model: SymbolicModel, run: Run, kind: ScoreKind): Value {
  if (kind === 'logit') return model.scoreIn(run.logits);
  const { probabilities } = run;
  const score = model.scoreIn(probabilities);
  return kind === 'probability' ? score : greaterEqual(score, max(probabilities, 'classes'));
}

const SHARE = 'a number above 0 and at most 1 is expected';
/** A share of the image's pixels. */
export const share = z.number({ error: SHARE }).gt(0, { error: SHARE }).max(1, { error: SHARE });

/** The options of what takes an image apart, or puts it together, pixel by pixel. */
export const stepFields = {
  /** Steps, of equally many pixels; the last may be smaller. */
  steps: count(1),
  /** The values in the place of pixels that are not shown: as in `rise`, after normalization. */
  baseline: baselineSchema,
  /** The score of each run: `probability` of the class, `logit`, or `top1`. */
  score: scoreOption,
};

export interface StepSettings {
  readonly steps: number;
  readonly baseline: Baseline;
  readonly score: ScoreKind;
}
