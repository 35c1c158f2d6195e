/**
 * The images that both sides get, as finished tensors: coarse structure with a little noise, like normalised
 * photographs.
 */

/** Numbers in [0, 1) from a seed (mulberry32). @param {number} seed */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** @param {number} count @param {number} side @returns {{ data: Float32Array, shape: [number, 3, number, number] }} */
export function seededImages(count, side) {
  const next = random(4);
  const data = new Float32Array(count * 3 * side * side);
  for (let plane = 0; plane < count * 3; plane++) {
    const waves = Array.from({ length: 6 }, () => ({ x: (next() - 0.5) * 8, y: (next() - 0.5) * 8, phase: next() }));
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        let value = 0.4 * (next() - 0.5);
        for (const wave of waves) {
          value += 0.5 * Math.cos(2 * Math.PI * ((wave.x * x + wave.y * y) / side + wave.phase));
        }
        data[(plane * side + y) * side + x] = value;
      }
    }
  }
  return { data, shape: [count, 3, side, side] };
}

/**
 * One class for each image, or `each` classes.
 * @param {number} count
 * @param {number} each
 * @param {number} classes
 * @returns {number[][]}
 */
export function seededTargets(count, each, classes) {
  return Array.from({ length: count }, (_, i) =>
    Array.from({ length: each }, (_, t) => (5 + 97 * i + 31 * t) % classes),
  );
}
