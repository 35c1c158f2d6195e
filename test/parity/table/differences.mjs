/** To [0, 1] by its own range, in float64; a map without any difference is zero. */
export function unit(map) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of map) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return Float64Array.from(map, (value) => (high > low ? (value - low) / (high - low) : 0));
}

/** Every `step`-th row and column of a map of [height, width]. */
export function sampled(map, [height, width], step) {
  const kept = [];
  for (let y = 0; y < height; y += step) for (let x = 0; x < width; x += step) kept.push(map[y * width + x]);
  return kept;
}

/** Largest and mean absolute difference; NaN counts as infinite. */
export function difference(found, expected) {
  if (found.length !== expected.length) throw new Error(`maps of ${found.length} and ${expected.length} values`);
  let max = 0;
  let total = 0;
  for (let i = 0; i < found.length; i++) {
    const each = Math.abs(found[i] - expected[i]);
    if (!(each <= max)) max = Number.isNaN(each) ? Infinity : each;
    total += each;
  }
  return { max, mean: total / found.length };
}
