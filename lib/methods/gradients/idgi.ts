import { square, sum, type Value } from '../../symbolic/index.js';
import { SPACE } from '../axes.js';

/** So that a gradient of zeros shares out nothing; squares of float32 gradients are above it. */
const SMALLEST = 1e-30;

/**
 * IDGI: what the score gains in a step of a path, [batch], shared out by the squares of the gradient where the step
 * begins. So only the part of the step that lies along the gradient counts, which alone changes the score.
 *
 * Yang, Wang & Bilgic, IDGI: A Framework to Eliminate Explanation Noise from Integrated Gradients, CVPR 2023.
 */
export function sharedByGradient(gain: Value, gradient: Value): Value {
  const squares = square(gradient);
  return squares.mul(gain.div(sum(squares, ['channels', ...SPACE]).add(SMALLEST)));
}
