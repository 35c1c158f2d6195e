import { binary, broadcast, unionOfAxes, type Operand } from './value.js';
import { constant } from './loops.js';
import { Value, type Axis } from './value.js';

/**
 * Conditions: values of 1 where something holds and 0 where it does not. No gradient flows through them. Operands are
 * broadcast by axis name; one of two may be a number. NaN is equal to nothing, and neither above nor below anything.
 */

/** 1 where a = b, else 0. */
export function equal(a: Operand, b: Operand): Value {
  return binary('equal', a, b);
}

/** 1 where a > b, else 0. */
export function greater(a: Operand, b: Operand): Value {
  return binary('greater', a, b);
}

/** 1 where a >= b, else 0. */
export function greaterEqual(a: Operand, b: Operand): Value {
  return binary('greater_equal', a, b);
}

/** 1 where a < b, else 0. */
export function less(a: Operand, b: Operand): Value {
  return greater(b, a);
}

/** 1 where a <= b, else 0. */
export function lessEqual(a: Operand, b: Operand): Value {
  return greaterEqual(b, a);
}

/** 1 where the condition is 0, else 0. */
export function not(condition: Value): Value {
  return condition.block.plan.current.step('not', [condition], condition.axes);
}

/**
 * `then` where the condition is not 0, `otherwise` where it is. Gradients flow to whichever was taken, place by place.
 */
export function where(condition: Value, then: Operand, otherwise: Operand): Value {
  const values = [condition, then, otherwise].filter((operand) => operand instanceof Value);
  const axes = unionOfAxes(values);
  const numbers = {
    ...(typeof then === 'number' && { left: then }),
    ...(typeof otherwise === 'number' && { right: otherwise }),
  };
  return condition.block.plan.current.step(
    'where',
    values.map((value) => broadcast(value, axes)),
    axes,
    numbers,
  );
}

/** 1 at the place along a new axis that `index` [batch] numbers, from 0, and 0 at the others: [batch, axis]. */
export function oneHot(index: Value, axis: Axis, size: number): Value {
  return equal(
    index,
    constant(
      index,
      Float32Array.from({ length: size }, (_, i) => i),
      { [axis]: size },
    ),
  );
}
