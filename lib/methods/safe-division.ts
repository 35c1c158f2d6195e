import { abs, div, lessEqual, where, type Operand, type Value } from '../symbolic/index.js';

/** a / b, and 0 where b is so near to zero that the quotient means nothing: |b| <= `least`. NaN stays NaN. */
export function divideOrZero(a: Operand, b: Value, least = 1e-12): Value {
  return where(lessEqual(abs(b), least), 0, div(a, b));
}
