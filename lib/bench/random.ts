import { uniformNumbers } from '../support/random.js';

/**
 * Repeatable inputs [count, 3, height, width], standard normal as preprocessed images about are: uniform numbers by
 * the Box-Muller transform.
 */
export function randomImages(
  count: number,
  height: number,
  width: number,
  seed: number,
): { data: Float32Array; shape: [number, number, number, number] } {
  const uniform = uniformNumbers(seed);
  const data = new Float32Array(count * 3 * height * width);
  for (let i = 0; i < data.length; i += 2) {
    // 1 - u lies in (0, 1], whose logarithm is finite.
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    data[i] = radius * Math.cos(angle);
    if (i + 1 < data.length) data[i + 1] = radius * Math.sin(angle);
  }
  return { data, shape: [count, 3, height, width] };
}
