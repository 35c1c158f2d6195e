import type { BlockDescription, Setting, StepDescription } from '../engine/plan-description.js';
import { SightlineError } from '../support/errors.js';
import type { OperationName } from '../engine/operations.js';

/**
 * The name of a tensor's axis. Operations find axes by name and broadcast over the ones that an operand lacks. So a
 * weight per channel multiplies a feature map without any reshaping.
 */
export type Axis =
  'batch' | 'channels' | 'height' | 'width' | 'tokens' | 'heads' | 'queries' | 'keys' | 'classes' | (string & {});

/** Where a value was tapped out of a run of the model, or that it is a variable: only such values have gradients. */
export type Origin = { readonly forward: number; readonly tap: number } | 'variable';

/** What of a step only some operations have. */
export type StepExtras = Partial<Pick<StepDescription, 'taps' | 'replaces' | 'body' | 'data' | 'shape'>>;

/** What operations need of the block of steps that a value belongs to: a method's, or a loop's body. */
export interface Block {
  readonly plan: Plan;
  readonly description: BlockDescription;
  /** Outer values that the body reads, with the parameter that carries each. */
  readonly captures: readonly { readonly outer: Value; readonly inner: Value }[];
  register(): number;
  parameter(axes: readonly Axis[]): Value;
  use(value: Value): Value;
  step(op: OperationName, inputs: readonly Value[], axes: readonly Axis[], settings?: Record<string, Setting>): Value;
  steps(
    op: OperationName,
    inputs: readonly Value[],
    axesOfOutputs: readonly (readonly Axis[])[],
    settings?: Record<string, Setting>,
    extra?: StepExtras,
  ): Value[];
  variable(value: Value): Value;
  gradient(score: Value, value: Value, differentiable: boolean): Value;
}

/** What operations need of the plan that is being recorded. */
export interface Plan {
  /** For messages. */
  readonly method: string;
  /** The block that operations go to. */
  readonly current: Block;
  /** Throws SightlineError INVALID_OPTION that names the method, its line and `what` it does wrong. */
  refuse(what: string): never;
  nested<T>(body: (block: Block) => T): { readonly block: Block; readonly result: T };
}

/**
 * A tensor that does not exist yet: what a method computes with. Every operation records a step; the engine runs the
 * steps later, for many batches. In a loop's body `batch` holds every sample of every image.
 */
export class Value {
  /** @internal */
  constructor(
    /** @internal */ readonly block: Block,
    /** @internal */ readonly register: number,
    /** Names of the axes, outermost first. */
    readonly axes: readonly Axis[],
    /** @internal */ readonly origin: Origin | null = null,
  ) {}

  /** Sum, number by number; axes broadcast by name. */
  add(other: Value | number): Value {
    return add(this, other);
  }

  /** Difference, number by number; axes broadcast by name. */
  sub(other: Value | number): Value {
    return sub(this, other);
  }

  /** Product, number by number; axes broadcast by name. */
  mul(other: Value | number): Value {
    return mul(this, other);
  }

  /** Quotient, number by number; axes broadcast by name. */
  div(other: Value | number): Value {
    return div(this, other);
  }
}

/** A value, or a number that stands for a value of that number everywhere. */
export type Operand = Value | number;

/**
 * The operand with the axes `axes`: those that it lacks are inserted with length 1, the others put in order. @internal
 */
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
    if (typeof b === 'number') {
      throw new SightlineError(
        'INVALID_OPTION',
        `The symbolic ${op} takes at least one value, and got the numbers ${a} and ${b}; compute with them in JavaScript.`,
      );
    }
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
