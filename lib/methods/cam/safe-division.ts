import { abs, greater, type Value } from '../../symbolic/index.js';

/** 1 / value, and 0 where the value is so near to zero that its reciprocal means nothing. */
export function reciprocalOrZero(value: Value, least = 1e-12): Value {
  const isUsable = greater(abs(value), value.mul(0).add(least));
  // 1 is divided by 1 where it is not, so that no infinity meets the zero of the mask.
  return isUsable.div(value.mul(isUsable).add(isUsable.mul(-1).add(1)));
}
