import type { BlockDescription, Setting, StepDescription } from '../engine/plan-description.js';

/**
 * The name of a tensor's axis. Operations find axes by name and broadcast over the ones that an operand lacks, so a
 * weight per channel multiplies a feature map without any reshaping.
 */
export type Axis =
  | 'batch'
  | 'channels'
  | 'height'
  | 'width'
  | 'tokens'
  | 'heads'
  | 'queries'
  | 'keys'
  | 'classes'
  | (string & {});

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
  step(op: string, inputs: readonly Value[], axes: readonly Axis[], settings?: Record<string, Setting>): Value;
  steps(op: string, inputs: readonly Value[], axesOfOutputs: readonly (readonly Axis[])[], settings?: Record<string, Setting>, extra?: StepExtras): Value[];
  variable(value: Value): Value;
  gradient(score: Value, value: Value, differentiable: boolean): Value;
}

/** What operations need of the plan that is being recorded. */
export interface Plan {
  /** For messages. */
  readonly method: string;
  /** The block that operations go to. */
  readonly current: Block;
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
