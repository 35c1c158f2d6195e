import type { Axis, Value } from './value.js';

/** The operand with the axes `axes`: those that it lacks are inserted with length 1, the others put in order. */
function spread(value: Value, axes: readonly Axis[]): Value {
  const block = value.block.plan.current;
  let spreadOut = value;
  const kept = axes.filter((axis) => value.axes.includes(axis));
  if (kept.some((axis, i) => axis !== value.axes[i])) {
    spreadOut = block.step('permute', [value], kept, { order: kept.map((axis) => value.axes.indexOf(axis)) });
  }
  axes.forEach((axis, i) => {
    if (spreadOut.axes.includes(axis)) return;
    const grown = [...spreadOut.axes];
    grown.splice(i, 0, axis);
    spreadOut = block.step('unsqueeze', [spreadOut], grown, { axis: i });
  });
  return spreadOut;
}

function binary(op: string, a: Value, b: Value): Value {
  // The order of the operand with more axes; what only the other one has comes last.
  const [wide, narrow] = b.axes.length > a.axes.length ? [b, a] : [a, b];
  const axes = [...wide.axes, ...narrow.axes.filter((axis) => !wide.axes.includes(axis))];
  return a.block.plan.current.step(op, [spread(a, axes), spread(b, axes)], axes);
}

/** a + b, broadcast by axis name. */
export function add(a: Value, b: Value | number): Value {
  return typeof b === 'number' ? a.block.plan.current.step('shift', [a], a.axes, { by: b }) : binary('add', a, b);
}

/** a - b, broadcast by axis name. */
export function sub(a: Value, b: Value | number): Value {
  return typeof b === 'number' ? add(a, -b) : binary('sub', a, b);
}

/** a * b, broadcast by axis name. */
export function mul(a: Value, b: Value | number): Value {
  return typeof b === 'number' ? a.block.plan.current.step('scale', [a], a.axes, { factor: b }) : binary('mul', a, b);
}

/** a / b, broadcast by axis name. Dividing by zero gives infinities: add an epsilon where it can be. */
export function div(a: Value, b: Value | number): Value {
  return typeof b === 'number' ? mul(a, 1 / b) : binary('div', a, b);
}

/** The larger of both, broadcast by axis name. */
export function maximum(a: Value, b: Value): Value {
  return binary('maximum', a, b);
}

/** The smaller of both, broadcast by axis name. */
export function minimum(a: Value, b: Value): Value {
  return binary('minimum', a, b);
}

/** 1 where a = b, else 0, broadcast by axis name. */
export function equal(a: Value, b: Value): Value {
  return binary('equal', a, b);
}

/** 1 where a > b, else 0, broadcast by axis name. */
export function greater(a: Value, b: Value): Value {
  return binary('greater', a, b);
}
