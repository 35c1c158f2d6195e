import type { BlockRecorder } from './recorder.js';
import { add, div, mul, sub } from './arithmetic.js';

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

/**
 * A tensor that does not exist yet: what a method computes with. Every operation records a step; the engine runs the
 * steps later, for many batches. In a loop's body `batch` holds every sample of every image.
 */
export class Value {
  /** @internal */
  constructor(
    /** @internal */ readonly block: BlockRecorder,
    /** @internal */ readonly register: number,
    /** Names of the axes, outermost first. */
    readonly axes: readonly Axis[],
    /** @internal */ readonly origin: Origin | null = null,
  ) {}

  add(other: Value | number): Value {
    return add(this, other);
  }

  sub(other: Value | number): Value {
    return sub(this, other);
  }

  mul(other: Value | number): Value {
    return mul(this, other);
  }

  div(other: Value | number): Value {
    return div(this, other);
  }
}
