import { div, equal, where, type Value } from '../symbolic/index.js';

/** a / b, and NaN where b is 0: a figure that is not defined. */
export function divideOrNaN(a: Value, b: Value): Value {
  return div(a, where(equal(b, 0), NaN, b));
}
