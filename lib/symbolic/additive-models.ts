import type { Sample } from './loops.js';
import type { Value } from './value.js';

/** How segments are drawn that a sample shows. */
export interface CoalitionDraws {
  /**
   * `kernel`: as many as Kernel SHAP's weights say, neither none nor all. All ways in turn, each with its weight, where
   * there are no more of them than samples. `half`: each by a coin. `half-and-whole`: so, but the first sample shows
   * all.
   */
  readonly sampling: 'kernel' | 'half' | 'half-and-whole';
  /** How many samples there are, from 1 on. */
  readonly samples: number;
  /** Seed of the draws, from 0 on: equal seeds give equal ones. */
  readonly seed: number;
}

/** How many segments each image has, [batch], or all of them. */
type Segments = Value | number;

const settingsOf = ({ sampling, samples, seed }: CoalitionDraws, segments: Segments) => ({
  sampling,
  samples,
  seed,
  ...(typeof segments === 'number' && { segments }),
});

const valuesOf = (segments: Segments): Value[] => (typeof segments === 'number' ? [] : [segments]);

/**
 * The segments that a loop's sample shows, as `shown` [batch, segments], 1 or 0; images of fewer segments have zeros
 * after theirs. `weights` [batch] is 0 where there is no such sample.
 */
export function coalitions(
  sample: Sample,
  segments: Segments,
  options: CoalitionDraws,
): { shown: Value; weights: Value } {
  const [shown, weights] = sample.block.plan.current.steps(
    'coalitions',
    [sample, ...valuesOf(segments)],
    [['batch', 'segments'], ['batch']],
    settingsOf(options, segments),
  );
  return { shown: shown!, weights: weights! };
}

/** How scores become a sum of what each segment brings. */
export interface AdditiveFit {
  /** The coalitions that the scores are of. */
  readonly coalitions: CoalitionDraws;
  /**
   * `shapley`: least squares without a constant. No segment brings `ends.nothing`, all together bring `ends.whole`.
   * `ridge` and `lasso` have a constant.
   */
  readonly regression: 'shapley' | 'ridge' | 'lasso';
  /** Factor of `ridge`, beside the weighted squares, and of `lasso`, beside half their mean; from 0 on. Default: 0. */
  readonly alpha?: number;
  /** Of `shapley` alone: the scores of the image and of nothing, [batch]. Default: none. */
  readonly ends?: { readonly whole: Value; readonly nothing: Value };
}

/**
 * Scores as sums of what the segments that are shown bring: `values` [batch, segments]. `scores`
 * and `weights` are [batch, sample]. `fit` [batch] is the share of the scores' variance that the values tell, at most
 * 1.
 */
export function additiveModel(
  scores: Value,
  weights: Value,
  segments: Segments,
  { coalitions, regression, alpha = 0, ends }: AdditiveFit,
): { values: Value; fit: Value } {
  if ((regression === 'shapley') !== (ends !== undefined)) {
    scores.block.plan.refuse(`fits an additive model by ${regression}; 'shapley' has ends, and no other`);
  }
  const [values, fit] = scores.block.plan.current.steps(
    'additive_model',
    [scores, weights, ...(ends === undefined ? [] : [ends.whole, ends.nothing]), ...valuesOf(segments)],
    [['batch', 'segments'], ['batch']],
    { ...settingsOf(coalitions, segments), regression, alpha },
  );
  return { values: values!, fit: fit! };
}

/** Each place gets the value of its label: `values` [batch, segments], `labels` [batch, height, width] from 0 on. */
export function paint(values: Value, labels: Value): Value {
  return values.block.plan.current.step('paint', [values, labels], labels.axes);
}
