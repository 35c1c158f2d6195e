import { masked } from '../methods/gradients/baseline.js';
import { concatenate, constant, greater, not, take, sum, type SymbolicModel, type Value } from '../symbolic/index.js';
import { scoreIn, type ScoreKind } from './fields.js';

/** An image that is taken apart, or put together, place by place. */
export interface Perturbation {
  /** The place of each pixel in the order, from 0: [batch, height, width]. */
  readonly order: Value;
  /** How many pixels of the order have had their turn at each point of the curve. */
  readonly counts: readonly number[];
  /** Whether those pixels are taken away, or are all that is shown. */
  readonly turn: 'hide' | 'show';
  /** What stands where the image is not shown, of the images' shape; null for zeros. */
  readonly baseline: Value | null;
  readonly score: ScoreKind;
}

/** The score at each point: [batch, sample]. */
export function scoresAlong(model: SymbolicModel, { order, counts, turn, baseline, score }: Perturbation): Value {
  const table = constant(model.image, Float32Array.from(counts), { point: counts.length });
  return concatenate(model.image, counts.length, (sample) => {
    const hadTurn = greater(take(table, sample), order);
    const shown = turn === 'show' ? hadTurn : not(hadTurn);
    return scoreIn(model, model.run(masked(model.image, shown, baseline)), score);
  });
}

/** The number of pixels in the model's input. */
export function pixelsOf(model: SymbolicModel): number {
  return model.inspection.height * model.inspection.width;
}

/**
 * How many pixels of an order have had their turn at each point of a curve: `steps` steps of equally many from 0 on,
 * all at the end. The last step may be smaller, and where they do not divide there may be fewer.
 */
export function countsOf(steps: number, pixels: number): number[] {
  const size = Math.ceil(pixels / steps);
  const counts: number[] = [];
  for (let count = 0; count < pixels; count += size) counts.push(count);
  return [...counts, pixels];
}

/**
 * The area under a curve by the trapezoidal rule, over the width of its range: the mean height, [batch].
 *
 * @param at where each point lies, ascending
 */
export function area(curve: Value, at: readonly number[]): Value {
  const range = at.at(-1)! - at[0]!;
  const weights = at.map((_, i) => ((at[i + 1] ?? at[i]!) - (at[i - 1] ?? at[i]!)) / 2 / range);
  return sum(curve.mul(constant(curve, Float32Array.from(weights), { sample: at.length })), 'sample');
}
