import type { Value } from './value.js';

/** Relevance rules: other local gradients for some of the model's operators. Values stay what they are. */
export const RULES = ['guided-backprop', 'deconvnet', 'lrp', 'attn-lrp', 'cp-lrp', 'deeplift'] as const;
/** A rule that changes what the backward pass carries. */
export type Rule = (typeof RULES)[number];

/** How the model is run: which rule its backward pass follows. */
export interface RunOptions {
  /** The relevance rule: it replaces gradients in the backward pass. Default: gradients. */
  readonly rule?: Rule;
  /** Of `attn-lrp` and `cp-lrp`: gamma of linear layers, 0 or more. Default 0, the plain rule. */
  readonly linearGamma?: number;
  /** Of `attn-lrp` and `cp-lrp`: gamma of convolutions, 0 or more. Default 0, the plain rule. */
  readonly convGamma?: number;
  /** Of `deeplift`, which needs it: the other image, of the first one's axes and sizes. Default: none. */
  readonly baseline?: Value;
}
