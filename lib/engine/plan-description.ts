import type { OperationName } from './operations.js';

/**
 * A recorded method as the engine takes it: native/engine/steps/plan.h in JavaScript values. Registers are numbered
 * from 0; every tensor that a step makes has one.
 */
export interface PlanDescription {
  readonly method: string;
  readonly block: BlockDescription;
  readonly outputs: readonly { readonly name: string; readonly value: number }[];
  /** Of the model, the output that is explained, by name. */
  readonly output: string;
  /** The register of the logits, by which targets such as `top1` are resolved; -1 in a plan that reads none. */
  readonly logits: number;
  /** Bytes that one chunk of a loop may take. */
  readonly memory: number;
}

export interface BlockDescription {
  registers: number;
  readonly steps: StepDescription[];
  /** Registers that whoever runs the block fills in. */
  readonly parameters: number[];
  readonly results: number[];
}

export interface StepDescription {
  readonly op: OperationName;
  readonly inputs: number[];
  readonly outputs: number[];
  readonly settings: Record<string, Setting>;
  /** `file:line:column` of the code that asked for the step. */
  readonly where: string;
  readonly taps?: TapDescription[];
  /** Of `resume`: the taps of the run that are replaced, one for each input. */
  readonly replaces?: readonly Omit<TapDescription, 'gradient'>[];
  readonly body?: BlockDescription;
  readonly data?: Float32Array;
  readonly shape?: readonly number[];
}

export type Setting = boolean | number | string | readonly number[];

export type TapKind =
  | 'logits'
  | 'output'
  | 'image'
  | 'node'
  | 'patches'
  | 'attention'
  | 'query'
  | 'key'
  | 'value'
  | 'residual'
  | 'residual-mid';

export interface TapDescription {
  readonly kind: TapKind;
  readonly node?: string;
  readonly site?: number;
  gradient: boolean;
}
