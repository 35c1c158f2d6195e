/** What PAIR's saliency package (Google) computes otherwise than the papers say. */
import type { Sample, SymbolicModel } from '../../symbolic/index.js';
import type { WeightsOf } from '../gradients/quadrature.js';
import { scaleSpace, type BlurSettings, type BlurStep } from '../gradients/scale-space.js';

/** Integrated gradients: the points of a trapezoid, each with the same weight. */
export const weights: WeightsOf = (rule, quadrature) =>
  quadrature === 'trapezoid' ? rule.weights.map(() => 1 / rule.points.length) : rule.weights;

/** By how many pixels a Gaussian is widened to see how the image changes with it. */
const WIDENING = 0.01;

/**
 * Blur integrated gradients: Gaussians in equal steps, the gradient at the sharper end of each, and there the rate at
 * which pixels change in place of the whole change.
 */
export function blurSteps(model: SymbolicModel, { steps, maxSigma }: BlurSettings): (sample: Sample) => BlurStep {
  const sigmas = Array.from({ length: steps }, (_, i) => (i * maxSigma) / steps);
  const blurred = scaleSpace(model, [...sigmas, ...sigmas.map((sigma) => sigma + WIDENING)]);
  return (sample) => {
    const at = blurred(sample);
    const rate = at.sub(blurred(sample.add(steps))).div(WIDENING);
    return { at, change: rate.mul(maxSigma / steps) };
  };
}
