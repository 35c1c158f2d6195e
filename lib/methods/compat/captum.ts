/** What captum (Meta) computes otherwise than the papers say. */
import type { WeightsOf } from '../gradients/quadrature.js';

/** Integrated gradients: the trapezoid's weights do not sum to 1. */
export const weights: WeightsOf = (rule, quadrature) =>
  quadrature === 'trapezoid'
    ? rule.weights.map((weight) => (weight * (rule.points.length - 1)) / rule.points.length)
    : rule.weights;
