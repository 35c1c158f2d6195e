/** What PAIR's saliency package (Google) computes otherwise than the papers say. */
import { SightlineError } from '../../support/errors.js';
import type { Sample, SymbolicModel } from '../../symbolic/index.js';
import { quadrature, type QuadratureRule, type WeightsOf } from '../gradients/quadrature.js';
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

/**
 * XRAI: the points of a trapezoid, each with the same weight.
 *
 * @throws SightlineError INVALID_OPTION for fewer than two
 */
export function trapezoid(steps: number): QuadratureRule {
  if (steps < 2) {
    throw new SightlineError(
      'INVALID_OPTION',
      `xrai as pair has it takes the gradient at both ends of the line; give at least 2 steps, not ${steps}.`,
    );
  }
  const rule = quadrature('trapezoid', steps);
  return { points: rule.points, weights: weights(rule, 'trapezoid') };
}

/** The size that its segmentation brings images to, by a filter of its own. */
const SIDE = 224;

/** @throws SightlineError METHOD_NOT_APPLICABLE where PAIR would resize the image before it segments it */
export function checkXraiSize({ inspection: { height, width } }: SymbolicModel): void {
  if (height === SIDE && width === SIDE) return;
  throw new SightlineError(
    'METHOD_NOT_APPLICABLE',
    `xrai as pair has it cuts images of ${SIDE} x ${SIDE} pixels into segments, not of ${height} x ${width} as this model takes; leave out \`compat\`.`,
  );
}
