/** A run of numbers in a checkpoint. */
export interface TensorPart {
  /** Index of the file in the plan's `files`. */
  readonly file: number;
  /** Byte offset in that file, counted from its start. */
  readonly begin: number;
  /** Byte offset after the last one. */
  readonly end: number;
  /** By safetensors' names: F32, F16, BF16, F64, I64, ... */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** In elements, where it is not row-major: then `begin` is where its first element lies, `end` behind its last. */
  readonly strides?: readonly number[];
}

/** What a tensor of the skeleton is filled with: the parts joined along axis 0 in this order, then given `shape`. */
export interface Assignment {
  /** Of the tensor in the skeleton. */
  readonly name: string;
  readonly shape: readonly number[];
  /** One, or Hugging Face's query, key and value for a joined one. */
  readonly parts: readonly TensorPart[];
}

/** How the weights of checkpoint files get into a skeleton. */
export interface WeightPlan {
  readonly files: readonly string[];
  /** One for every tensor of the skeleton that its graph reads. */
  readonly assignments: readonly Assignment[];
  /** Of all layer norms, where the checkpoint's model has another than the skeleton. */
  readonly layerNormEps?: number;
}
