import type { TensorPart } from './weight-plan.js';

/** What an operator is given, as the file says it and before the operator's schema has been asked. */
export type ProgramArgument =
  | { readonly kind: 'none' }
  /** What an operator gave, a weight or the images, by its name. */
  | { readonly kind: 'value'; readonly text: string }
  /** 2^63 - 1 and its neighbors, which are no numbers of JavaScript, come as 2^63. */
  | { readonly kind: 'int' | 'float'; readonly number: number }
  | { readonly kind: 'bool'; readonly number: 0 | 1 }
  /** A word; of `dtype` safetensors' name, of `memory-format` PyTorch's, of `device` the kind. */
  | { readonly kind: 'text' | 'dtype' | 'memory-format' | 'device'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly ProgramArgument[] };

/** A module's output by the module's path, as a forward hook would see it. */
export interface ProgramName {
  readonly value: string;
  readonly path: string;
  /** Its place among the values that the module gives; -1 where it is the only one. */
  readonly element: number;
}

/** One operator of a program. */
export interface ProgramNode {
  /** Such as `aten::conv2d`. */
  readonly operator: string;
  /** Such as `Tensor`; empty for the default. Null for arithmetic on whole numbers, which takes what fits. */
  readonly overload: string | null;
  /** By the names of the operator's schema; of arithmetic in order. */
  readonly inputs: readonly (readonly [name: string, argument: ProgramArgument])[];
  /** The names of what it gives; several where it gives a list, null where nobody reads it. */
  readonly outputs: readonly (string | readonly string[] | null)[];
  /** The module in whose code it stands; empty for the outermost. */
  readonly scope: string;
  /** Of modules that end with this operator, the innermost first. */
  readonly names: readonly ProgramName[];
}

/** A weight, a buffer or a constant of a program. */
export interface ProgramTensor {
  /** The program's name for it. */
  readonly value: string;
  /** The module's, such as `blocks.0.attn.qkv.weight`. */
  readonly name: string;
  readonly kind: 'parameter' | 'buffer';
  readonly part: TensorPart;
}

/** A program of torch.export that has been checked: a straight list of operators, each of what stands before it. */
export interface ExportedProgram {
  /** Where weights are read from. */
  readonly file: string;
  /** The name of the images. */
  readonly image: string;
  readonly tensors: readonly ProgramTensor[];
  readonly nodes: readonly ProgramNode[];
  /** What is returned, by name; one without a name where the program returns one tensor alone. */
  readonly outputs: readonly { readonly name: string | null; readonly value: string }[];
  /** Whether it was exported for one image, so that images are run one by one. */
  readonly isForOneImage: boolean;
}
