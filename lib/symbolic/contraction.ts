import type { Value, Axis } from './value.js';
import { broadcast } from './value.js';

/**
 * The products of `a` and `b` summed over the axis `over`, which both have: einsum by names. Other axes that both have
 * are matched; axes that only one has are kept. In the result the last axis that only `b` has comes last, and the last
 * that only `a` has comes before it. All others come first, in the order of `a` and then of `b`.
 */
export function contract(a: Value, b: Value, over: Axis): Value {
  const block = a.block.plan.current;
  const lost = [a, b].find(({ axes }) => !axes.includes(over));
  if (lost !== undefined) {
    a.block.plan.refuse(
      `contracts [${a.axes.join(', ')}] with [${b.axes.join(', ')}] over "${over}", which [${lost.axes.join(', ')}] lacks`,
    );
  }
  // Each image by itself: the batch is no row of a matrix.
  const own = (value: Value, other: Value): Axis | undefined =>
    value.axes.findLast((axis) => axis !== over && axis !== 'batch' && !other.axes.includes(axis));
  const row = own(a, b);
  const column = own(b, a);
  const leading = [...new Set([...a.axes, ...b.axes])].filter(
    (axis) => axis !== over && axis !== row && axis !== column,
  );
  // The first axes that an operand lacks are broadcast without being inserted.
  const matrix = (value: Value, last: readonly Axis[]): Value => {
    const known = leading.slice(leading.findIndex((axis) => value.axes.includes(axis)));
    const axes = leading.some((axis) => value.axes.includes(axis)) ? [...known, ...last] : last;
    return broadcast(value, axes);
  };
  // What has no axis of its own is a matrix of one row, or of one column.
  const rows = matrix(a, [row ?? ONE_ROW, over]);
  const columns = matrix(b, [over, column ?? ONE_COLUMN]);
  let product = block.step('matmul', [rows, columns], [...leading, row ?? ONE_ROW, column ?? ONE_COLUMN]);
  for (const axis of [row === undefined && ONE_ROW, column === undefined && ONE_COLUMN]) {
    if (axis === false) continue;
    const at = product.axes.indexOf(axis);
    product = block.step(
      'select',
      [product],
      product.axes.filter((name) => name !== axis),
      { axis: at, index: 0 },
    );
  }
  return product;
}

/** Names that no axis of a method has. */
const ONE_ROW = '(row)';
const ONE_COLUMN = '(column)';
