import { div, maximum, mean, relu, sum, type Value } from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import type { LayerReading } from './target-layer.js';

/**
 * A layer's activations A, weighted by the score's gradients g with respect to them: [batch, channels, height, width].
 */
export type Weighting = (reading: LayerReading) => Value;

/** Grad-CAM: A times the mean over space of g. */
export const byMeanGradient: Weighting = ({ activations, gradients }) => activations.mul(mean(gradients, SPACE));

/** LayerCAM: A times max(g, 0), place by place. */
export const byPositiveGradient: Weighting = ({ activations, gradients }) => activations.mul(relu(gradients));

/** Grad-CAM++: A times the sum over space of alpha max(g, 0). */
export const byPlaces =
  (alpha: Weighting = placeWeights): Weighting =>
  (reading) =>
    reading.activations.mul(sum(alpha(reading).mul(relu(reading.gradients)), SPACE));

/**
 * Grad-CAM++'s alpha = g² / (2 g² + g³ S), S being the sum over space of A. g² cancels, which keeps the small gradients
 * of a pooled layer from drowning in an epsilon. Behind a ReLU the denominator is at least 2 wherever a gradient
 * counts; of features with signs it may pass through 0, and alpha through infinity: there alpha ends at 1.
 */
const placeWeights: Weighting = ({ activations, gradients }) =>
  div(1, maximum(gradients.mul(sum(activations, SPACE)).add(2), 1));
