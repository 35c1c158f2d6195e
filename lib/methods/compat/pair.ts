/** What PAIR's saliency package (Google) computes otherwise than the papers say. */
import type { WeightsOf } from '../gradients/quadrature.js';

/** Integrated gradients: the points of a trapezoid, each with the same weight. */
export const weights: WeightsOf = (rule, quadrature) =>
  quadrature === 'trapezoid' ? rule.weights.map(() => 1 / rule.points.length) : rule.weights;
