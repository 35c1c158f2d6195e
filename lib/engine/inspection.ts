/** How a node's axes are laid out: [N, tokens, channels], [N, channels, H, W], [N, H, W, channels] or [N, channels]. */
export type Layout = 'tokens' | 'channels-first' | 'channels-last' | 'vector' | 'other';

/** A module's output, named by the module's path. A module called again is `path:1`, `path:2`, ... */
export interface NodeInfo {
  /** Path of the module; a name by structure (`conv[3]`) in frozen archives. */
  readonly name: string;
  /** For one image, the batch axis first. */
  readonly shape: readonly number[];
  /** The order of its axes. */
  readonly layout: Layout;
  /**
   * Of `tokens`: where the patches lie, row by row after `prefix` other tokens and before `suffix`. Where the module
   * has them in another order, such as window by window, methods see them in this one; `order` says how it was made.
   */
  readonly grid: {
    readonly height: number;
    readonly width: number;
    readonly prefix: number;
    readonly suffix: number;
    /**
     * Null where the module's own order is that of rows. Else, counted over all axes but the last, the entry of each
     * token: of the patches row by row, then of the `suffix` others. `capture` leaves features as the module gives
     * them.
     */
    readonly order: readonly number[] | null;
  } | null;
  /** The operator whose output it is: `conv2d`, `batch_norm`, `linear`, `add`, ... */
  readonly operator: string;
  /** Whether that is a convolution or a batch norm that adds a bias to each channel. */
  readonly hasBias: boolean;
  /**
   * Of the model's `flops`, those of operators that read this node, directly or not: what a run again from here takes.
   */
  readonly flopsAfter: number | null;
  /** Of the model's `activationBytes`, those of what these operators make. */
  readonly bytesAfter: number;
  /** Why no gradient of the scores comes to it, such as an operator `detach` after it; empty where one does. */
  readonly gradientObstacle: string;
}

/** See `Inspection.scores`. */
export const SCORE_KINDS = ['classes', 'labels', 'yes-or-no', 'value'] as const;
export type ScoreKind = (typeof SCORE_KINDS)[number];

/** One attention: softmax(q kᵀ · scale + mask) v. */
export interface AttentionInfo {
  /** Path of the module in which it is computed; `attention[i]` in frozen archives. */
  readonly name: string;
  /** How the archive writes it. */
  readonly form: 'scaled-dot-product' | 'softmax';
  /** How many heads. */
  readonly heads: number;
  /** How many tokens look (queries), class and register tokens included. */
  readonly tokens: number;
  /** As many as `tokens` in self-attention; class attention and attention pooling have fewer queries than keys. */
  readonly keys: number;
  /** Channels of each head. */
  readonly headSize: number;
  /** Windows per image: 1 where every token sees every other, more in Swin. */
  readonly windows: number;
  /** Empty, or why its probabilities cannot be tapped. */
  readonly unsupported: string;
  /** Empty, or why its probabilities are not what the values are mixed by, such as talking heads. */
  readonly altered: string;
  /** Why no gradient of the scores comes to its probabilities; empty where one does. */
  readonly gradientObstacle: string;
  /** Whether the graph tells its output projection and the residual sum that this is added to. */
  readonly isInStream: boolean;
  /** Of the model's `flops`, those of operators that read the probabilities, directly or not. */
  readonly flopsAfter: number | null;
  /**
   * Of the model's `activationBytes`, those of what these operators make; of the fused form, those after its output.
   */
  readonly bytesAfter: number;
}

/** The patches' grid, and how many class, distillation and register tokens stand before and after them. */
export interface TokenGrid {
  /** Rows of patches. */
  readonly height: number;
  /** Columns of patches. */
  readonly width: number;
  /** Tokens before the patches. */
  readonly prefix: number;
  /** Tokens after the patches. */
  readonly suffix: number;
  /** The token whose last state is classified; null where it is the mean of the patches, or where that is not known. */
  readonly classToken: number | null;
  /** Whether the graph or an experiment tells which tokens the scores are made of. */
  readonly isReadKnown: boolean;
}

/** A linear layer on the mean of a feature over space: what makes CAM exact. */
export interface PooledHead {
  /** The node that is averaged. */
  readonly feature: string;
  /** The order of the axes of that node. */
  readonly layout: Layout;
  /** How many channels the linear layer reads. */
  readonly channels: number;
}

/** Whether a method can explain the model, and if not, why. */
export interface Applicability {
  /** The method's name. */
  readonly name: string;
  /** Whether it can explain the model. */
  readonly applies: boolean;
  /** Why it does not apply; null when it does. */
  readonly reason: string | null;
}

/** The parts of a model at one input size. */
export interface Inspection {
  /** Height of the input, in pixels. */
  readonly height: number;
  /** Width of the input, in pixels. */
  readonly width: number;
  /** Of the images. */
  readonly channels: number;
  /** Whether the model takes images as [N, H, W, channels]; all other fields describe [N, channels, H, W]. */
  readonly isChannelsLast: boolean;
  /** How many classes are scored; 0 where the model returns something else, such as a mask. */
  readonly classes: number;
  /** All that the model returns, by name: a dict's key, a place in a tuple, or `output`. */
  readonly outputs: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** The one that is explained. */
  readonly output: string;
  /**
   * The meaning of its numbers. `classes`: one is right (softmax). `labels`: each may be right (sigmoid). `yes-or-no`:
   * one logit, explained as two classes. `value`: no probability. Null where it is no scores, such as a mask.
   */
  readonly scores: ScoreKind | null;
  /**
   * The function that the graph applies to the logits at its end. Logits are read before it, and it is not applied
   * twice.
   */
  readonly activation: 'softmax' | 'log_softmax' | 'sigmoid' | null;
  /** Of the logits, or of an output that is no scores; for one image, the batch axis first. */
  readonly outputShape: readonly number[];
  /** False for frozen archives, whose nodes are named by their structure (`conv[3]`). */
  readonly hasModuleNames: boolean;
  /** Whether weights or activations are quantized to integers. */
  readonly isQuantized: boolean;
  /** Whether it was traced in training mode; it is run in inference mode all the same. */
  readonly wasTraining: boolean;
  /** False where shapes of one image are written into the archive, so that images are run one by one. */
  readonly canBatch: boolean;
  /** Whether an image has other values beside another image than alone, so that images are run one by one. */
  readonly imagesInteract: boolean;
  /** Attention-like operators of no known form, such as cross-covariance: they cannot be tapped. */
  readonly unknownAttention: number;
  /** Whether attentions stand side by side, in one block or in branches, rather than follow one another. */
  readonly hasParallelAttention: boolean;
  /**
   * By the name of a rule of the backward pass (`guided-backprop`, `attn-lrp`) that cannot be followed here: why, as a
   * sentence.
   */
  readonly ruleReasons: Readonly<Record<string, string>>;
  /** Why no gradient of the scores comes to the image; empty where one does. */
  readonly gradientObstacle: string;
  /** In the order of execution. */
  readonly nodes: readonly NodeInfo[];
  /** Attentions, in the order of execution. */
  readonly attention: readonly AttentionInfo[];
  /** The grid of patches that the classifier reads; null where there is none. */
  readonly tokens: TokenGrid | null;
  /** The linear layer after average pooling; null where the model does not end so. */
  readonly head: PooledHead | null;
  /**
   * The layer that CAM methods explain by default: the last spatial feature, or the last attention's input. Empty
   * where none is known.
   */
  readonly targetLayer: string;
  /**
   * The operator at which the places of the image are lost, and the module that it is in or leads to: features with
   * space follow it whose places are not known, so `targetLayer` is empty. Null where places are followed to the end.
   */
  readonly placesLostAt: { readonly node: string; readonly operator: string } | null;
  /** Operators of one run of the whole model. */
  readonly operators: number;
  /** Bytes of all activations of one image. */
  readonly activationBytes: number;
  /**
   * Floating-point operations of one run on one image: those of convolutions, linear layers, matrix products and
   * attention, a multiplication and its addition counted as two. Norms, activations and sums are left out. Null where
   * such an operator cannot be read, as in quantized models.
   */
  readonly flops: number | null;
  /**
   * Numbers in the parameters; in a frozen archive, which has none, those in its floating-point constants but for batch
   * norms' statistics. Null in quantized models.
   */
  readonly parameters: number | null;
}
