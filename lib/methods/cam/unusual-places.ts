import { mean, sqrt, square, type Value } from '../../symbolic/index.js';
import { SPACE } from '../axes.js';

/** Each channel's mean over space, and that plus `sigmas` standard deviations: [batch, channels] each. */
export function meanAndThreshold(
  activations: Value,
  sigmas: number,
): { readonly average: Value; readonly threshold: Value } {
  const average = mean(activations, SPACE);
  const deviation = sqrt(mean(square(activations.sub(average)), SPACE));
  return { average, threshold: average.add(deviation.mul(sigmas)) };
}
