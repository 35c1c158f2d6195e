import { SightlineError } from '../errors.js';
import type { OperationName } from './operations.js';
import type { Value, Axis } from './value.js';

/** A value, or a number that stands for a value of that number everywhere. */
export type Operand = Value | number;

/** The operand with the axes `axes`: those that it lacks are inserted with length 1, the others put in order. @internal */
export function broadcast(value: Value, axes: readonly Axis[]): Value {
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

/** All axes of several values: the order of the first that has most; what only others have comes last. @internal */
export function unionOfAxes(values: readonly Value[]): Axis[] {
  const widest = values.reduce((wide, value) => (value.axes.length > wide.axes.length ? value : wide));
  return [...new Set([...widest.axes, ...values.flatMap(({ axes }) => axes)])];
}

/** A step of two operands. @internal */
export function binary(op: OperationName, a: Operand, b: Operand): Value {
  if (typeof a === 'number') {
    // Two numbers can come only from a caller without types.
    if (typeof b === 'number') throw new SightlineError('INVALID_OPTION', `The symbolic ${op} takes at least one value, and got the numbers ${a} and ${b}; compute with them in JavaScript.`);
    return b.block.plan.current.step(op, [b], b.axes, { left: a });
  }
  if (typeof b === 'number') return a.block.plan.current.step(op, [a], a.axes, { right: b });
  const axes = unionOfAxes([a, b]);
  return a.block.plan.current.step(op, [broadcast(a, axes), broadcast(b, axes)], axes);
}

/** a + b. Values are broadcast by axis name, here and below; one of the two may be a number. */
export function add(a: Operand, b: Operand): Value {
  if (typeof a === 'number') return typeof b === 'number' ? binary('add', a, b) : add(b, a);
  return typeof b === 'number' ? a.block.plan.current.step('shift', [a], a.axes, { by: b }) : binary('add', a, b);
}

/** a - b. */
export function sub(a: Operand, b: Operand): Value {
  return typeof a !== 'number' && typeof b === 'number' ? add(a, -b) : binary('sub', a, b);
}

/** a * b. */
export function mul(a: Operand, b: Operand): Value {
  if (typeof a === 'number') return typeof b === 'number' ? binary('mul', a, b) : mul(b, a);
  return typeof b === 'number' ? a.block.plan.current.step('scale', [a], a.axes, { factor: b }) : binary('mul', a, b);
}

/** a / b. Dividing by zero gives infinities: add an epsilon where it can be. */
export function div(a: Operand, b: Operand): Value {
  return typeof a !== 'number' && typeof b === 'number' ? mul(a, 1 / b) : binary('div', a, b);
}

/** The larger of both. */
export function maximum(a: Operand, b: Operand): Value {
  return binary('maximum', a, b);
}

/** The smaller of both. */
export function minimum(a: Operand, b: Operand): Value {
  return binary('minimum', a, b);
}
