import { SightlineError } from '../support/errors.js';
import type { OperationName } from '../engine/operations.js';
import type { Setting } from '../engine/plan-description.js';
import { Value, type Axis } from './value.js';
import { broadcast } from './value.js';

function step(op: OperationName, value: Value, axes: readonly Axis[], settings: Record<string, Setting> = {}): Value {
  return value.block.plan.current.step(op, [value], axes, settings);
}

/** The place of an axis among a value's. @internal */
export function position(value: Value, axis: Axis): number {
  const found = value.axes.indexOf(axis);
  if (found < 0) value.block.plan.refuse(`names the axis "${axis}" of a value that has ${value.axes.join(', ')}`);
  return found;
}

const elementwise =
  (op: OperationName) =>
  (value: Value): Value =>
    step(op, value, value.axes);

/** -x of each number. */
export const neg = elementwise('neg');
/** max(x, 0). */
export const relu = elementwise('relu');
/** 1 / (1 + e^-x). */
export const sigmoid = elementwise('sigmoid');
/** The hyperbolic tangent of each number. */
export const tanh = elementwise('tanh');
/** e^x of each number. */
export const exp = elementwise('exp');
/** The natural logarithm of each number. */
export const log = elementwise('log');
/** The square root of each number. */
export const sqrt = elementwise('sqrt');
/** |x| of each number. */
export const abs = elementwise('abs');
/** x * x of each number. */
export const square = elementwise('square');
/** The largest whole number not above each number. */
export const floor = elementwise('floor');
/** -1, 0 or 1. */
export const sign = elementwise('sign');
/** The sine of each number, in radians. */
export const sin = elementwise('sin');
/** The cosine of each number, in radians. */
export const cos = elementwise('cos');
/** The same values, through which no gradient flows. */
export const detach = elementwise('detach');
/** Each image to [0, 1] by its own lowest and highest value; a flat one to zeros. */
export const scaleToUnit = elementwise('scale_to_unit');

/** x to the power of `exponent`. */
export function power(value: Value, exponent: number): Value {
  return step('power', value, value.axes, { exponent });
}

/** Cuts values to [low, high]. */
export function clamp(value: Value, low: number, high: number): Value {
  return step('clamp', value, value.axes, { low, high });
}

/** Softmax along an axis. */
export function softmax(value: Value, axis: Axis): Value {
  return step('softmax', value, value.axes, { axis: position(value, axis) });
}

const reduction =
  (op: OperationName) =>
  (value: Value, axes: Axis | readonly Axis[]): Value => {
    const names = typeof axes === 'string' ? [axes] : axes;
    const positions = names.map((axis) => position(value, axis));
    return step(
      op,
      value,
      value.axes.filter((axis) => !names.includes(axis)),
      { axes: positions },
    );
  };

/** The sum over axes, which go. */
export const sum = reduction('sum');
/** The mean over axes, which go. */
export const mean = reduction('mean');
/** The largest along axes, which go. */
export const max = reduction('max');
/** The smallest along axes, which go. */
export const min = reduction('min');

/** Each image's lowest value: [batch]. */
export function lowest(value: Value): Value {
  return step('lowest', value, ['batch']);
}

/** Each image's highest value: [batch]. */
export function highest(value: Value): Value {
  return step('highest', value, ['batch']);
}

/** The same tensor with another name for an axis. */
export function rename(value: Value, from: Axis, to: Axis): Value {
  position(value, from);
  if (to !== from && value.axes.includes(to)) {
    value.block.plan.refuse(`renames "${from}" to "${to}", which another axis of [${value.axes.join(', ')}] is called`);
  }
  return new Value(
    value.block,
    value.register,
    value.axes.map((axis) => (axis === from ? to : axis)),
    value.origin,
  );
}

/** The axes in another order. */
export function transpose(value: Value, axes: readonly Axis[]): Value {
  if (axes.length !== value.axes.length) {
    value.block.plan.refuse(`puts [${value.axes.join(', ')}] in the order [${axes.join(', ')}]; name each axis once`);
  }
  return step('permute', value, axes, { order: axes.map((axis) => position(value, axis)) });
}

/** One place along an axis, which goes. */
export function select(value: Value, axis: Axis, index: number): Value {
  return step(
    'select',
    value,
    value.axes.filter((name) => name !== axis),
    { axis: position(value, axis), index },
  );
}

/** `length` places along an axis from `start` on. */
export function narrow(value: Value, axis: Axis, start: number, length: number): Value {
  return step('narrow', value, value.axes, { axis: position(value, axis), start, length });
}

/** One axis into several, such as patches into height and width; sizes in the order of `into`'s entries. */
export function split(value: Value, axis: Axis, into: Readonly<Record<string, number>>): Value {
  const at = position(value, axis);
  const axes = [...value.axes];
  axes.splice(at, 1, ...Object.keys(into));
  return step('split', value, axes, { axis: at, sizes: Object.values(into) });
}

/** Values of the same axes along a new, first axis after the batch. */
export function stack(values: readonly Value[], axis: Axis): Value {
  const first = values[0];
  if (first === undefined) throw new SightlineError('INVALID_OPTION', 'Nothing to stack: the list of values is empty.');
  const odd = values.find((value) => value.axes.join() !== first.axes.join());
  if (odd !== undefined) {
    first.block.plan.refuse(
      `stacks values of different axes, [${first.axes.join(', ')}] and [${odd.axes.join(', ')}]; bring them to one order first`,
    );
  }
  const axes = [...first.axes];
  axes.splice(1, 0, axis);
  return first.block.plan.current.step('stack', values, axes, { axis: 1 });
}

/** `number` everywhere, in the value's shape. */
export function fullLike(value: Value, number: number): Value {
  return step('full_like', value, value.axes, { value: number });
}

/** The value in the shape of `like`, repeated along the axes that it lacks. Gradients flow through the value alone. */
export function expandLike(value: Value, like: Value): Value {
  const foreign = value.axes.find((axis) => !like.axes.includes(axis));
  if (foreign !== undefined) {
    value.block.plan.refuse(
      `expands [${value.axes.join(', ')}] to [${like.axes.join(', ')}], which has no axis "${foreign}"`,
    );
  }
  return value.block.plan.current.step('expand_like', [broadcast(value, like.axes), like], like.axes);
}

/** The entries at equal places of two axes: `rows` stays, `columns` goes. */
export function diagonal(value: Value, rows: Axis, columns: Axis): Value {
  const kept = value.axes.filter((axis) => axis !== rows && axis !== columns);
  return step('diagonal', value, [...kept, rows], { rows: position(value, rows), columns: position(value, columns) });
}

/** The identity matrix in the shape of [batch, n, n]. */
export function eyeLike(value: Value): Value {
  return step('eye_like', value, value.axes);
}

/**
 * Zeroes the `floor(entries * ratio)` smallest entries of each image.
 *
 * @param keepFirst keeps the very first entry whatever its size: [class token, class token] of an attention matrix
 */
export function zeroSmallest(value: Value, ratio: number, keepFirst: boolean): Value {
  return step('zero_smallest', value, value.axes, { ratio, keep_first: keepFirst });
}

/**
 * Each image's places numbered by their values, from the largest down: 0, 1, ... Of equal values the first place, row
 * by row, comes first; with `ties: 'mean'` or `'last'` all of them have the mean, or the last, of their numbers.
 */
export function ranks(value: Value, { ties = 'first' }: { readonly ties?: 'first' | 'mean' | 'last' } = {}): Value {
  return step('ranks', value, value.axes, { ties });
}

/** How a map is brought to another size. */
export interface Interpolation {
  /** Default `bilinear`. */
  readonly mode?: 'bilinear' | 'bicubic' | 'nearest';
  /** Whether corners lie on corners, rather than half-pixel centers on their places (the default). */
  readonly alignCorners?: boolean;
}

/**
 * To `height` x `width`, bilinear with half-pixel centers by default. The last axes are height and width.
 */
export function upsample(
  value: Value,
  height: number,
  width: number,
  { mode = 'bilinear', alignCorners = false }: Interpolation = {},
): Value {
  return step('upsample', value, value.axes, { size: [height, width], mode, align_corners: alignCorners });
}

/** Mirrored along an axis. */
export function flip(value: Value, axis: Axis): Value {
  return step('flip', value, value.axes, { axis: position(value, axis) });
}

/** `height` x `width` of the last two axes, from each image's own `rows` and `columns` [batch] on. */
export function crop(value: Value, rows: Value, columns: Value, height: number, width: number): Value {
  return value.block.plan.current.step('crop', [value, rows, columns], value.axes, { size: [height, width] });
}

/** The last two axes shifted round by each image's own `rows` and `columns` [batch]. */
export function roll(value: Value, rows: Value, columns: Value): Value {
  return value.block.plan.current.step('roll', [value, rows, columns], value.axes);
}

/** Gaussian blur of the last two axes with reflected edges. `size` is odd, `sigma` in pixels. */
export function blur(value: Value, size: number, sigma: number): Value {
  return step('blur', value, value.axes, { size, sigma });
}

/** Inverse real Fourier transform (orthonormal): [..., height, frequency, complex] to [..., `height`, `width`]. */
export function realFromSpectrum(value: Value, height: number, width: number): Value {
  return step('real_from_spectrum', value, [...value.axes.slice(0, -3), 'height', 'width'], { size: [height, width] });
}

/** Places of the last axis by number: [batch, n] and [batch, k] to [batch, k]. */
export function gather(value: Value, indices: Value): Value {
  return value.block.plan.current.step('gather', [value, indices], [...value.axes.slice(0, -1), indices.axes.at(-1)!]);
}

/** Each image's own place along an axis, which goes: `index` is [batch]. By default the first axis after the batch. */
export function pick(value: Value, index: Value, axis: Axis = value.axes[1] ?? 'batch'): Value {
  if (position(value, axis) < 1 || value.axes[0] !== 'batch') {
    value.block.plan.refuse(
      `picks along "${axis}" of [${value.axes.join(', ')}]; the batch comes first, and another axis is picked from`,
    );
  }
  const others = value.axes.slice(1).filter((name) => name !== axis);
  const [first] = value.axes.slice(1);
  // In the value's own block: what a loop picks from is laid out once, before the loop.
  const laid =
    first === axis
      ? value
      : value.block.step('permute', [value], ['batch', axis, ...others], {
          order: ['batch', axis, ...others].map((name) => value.axes.indexOf(name)),
        });
  return value.block.plan.current.step('pick', [laid, index], ['batch', ...others]);
}

/** A leaf of which gradients can be taken, through everything computed from it, runs of the model included. */
export function variable(value: Value): Value {
  return value.block.plan.current.variable(value);
}

/** The `count` largest along the last axis: values and, as numbers, indices. */
export function top(value: Value, count: number): { values: Value; indices: Value } {
  const axes = [...value.axes.slice(0, -1), 'rank'];
  const [values, indices] = value.block.plan.current.steps('top', [value], [axes, axes], { count });
  return { values: values!, indices: indices! };
}

/**
 * The gradient of `score` [batch] with respect to a tapped value or a variable. Gradients of one score with respect to
 * taps share one backward pass.
 *
 * @param differentiable whether gradients are taken of the gradient
 */
export function grad(
  score: Value,
  value: Value,
  { differentiable = false }: { readonly differentiable?: boolean } = {},
): Value {
  return score.block.gradient(score, value, differentiable);
}
