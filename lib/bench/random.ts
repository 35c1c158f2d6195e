/**
 * Repeatable inputs [count, 3, height, width], standard normal as preprocessed images about are: mulberry32's uniform
 * numbers by the Box-Muller transform.
 */
export function randomImages(count: number, height: number, width: number, seed: number): { data: Float32Array; shape: [number, number, number, number] } {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
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
