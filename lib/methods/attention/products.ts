import { transpose, type Axis, type Value } from '../../symbolic/index.js';

/**
 * The matrix product over the last axis of `a` and the last but one of `b`, for each place of the axes before: [..., m,
 * n] and [..., n, k] to [..., m, k]. The leading axes of `b` are those of `a`, or the last of them.
 */
export function product(a: Value, b: Value): Value {
  return a.block.plan.current.step('matmul', [a, b], [...a.axes.slice(0, -1), b.axes.at(-1)!]);
}

/** The same value with its last two axes changed round. */
export function turned(value: Value): Value {
  const axes: Axis[] = [...value.axes];
  const last = axes.pop()!;
  axes.splice(-1, 0, last);
  return transpose(value, axes);
}
