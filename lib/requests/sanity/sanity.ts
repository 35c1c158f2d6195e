import type { z } from 'zod';

import type { MethodName } from '../../methods/index.js';
import type { Interval } from '../evaluate/statistics.js';
import type { CustomOptions, NamedOptions } from '../explain.js';
import type { Target } from '../targets.js';
import type { Similarity } from './similarity.js';

/** The sanity checks: what is changed before the maps are compared. */
export const SANITY_CHECKS = ['cascading', 'independent', 'random-logit'] as const;
/** The name of one. */
export type SanityCheckName = (typeof SANITY_CHECKS)[number];

/** Options of `sanityCheck`. */
export interface SanityOptions {
  /**
   * `cascading`: the weights of the last layers are shuffled, from the scores down, one more at each step; at the last
   * step all are. `independent`: those of one layer at a time. `random-logit`: nothing is, and another class is
   * explained, drawn by `seed`.
   */
  readonly check: SanityCheckName;
  /** The method that is checked: its name, or its options. */
  readonly method: MethodName | NamedOptions<MethodName> | CustomOptions<z.ZodType>;
  /** The classes whose maps are compared, as in `explain`. Default: the predicted one. */
  readonly targets?: readonly Target[] | readonly (readonly Target[])[] | undefined;
  /** How alike two maps are. Default `spearman`. */
  readonly similarity?: Similarity | undefined;
  /**
   * The modules whose weights are shuffled, one at each step, in this order; not for `random-logit`. Default: each
   * block, and each layer outside of blocks, from the scores down.
   */
  readonly layers?: readonly string[] | undefined;
  /** By which weights are shuffled and classes are drawn: 0 to 4,294,967,295. Default 0. */
  readonly seed?: number | undefined;
  /** Called after each step. Default: nothing. */
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
  /** Aborting rejects with ABORTED. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** How alike the maps are after one change; the mean over the maps that have a figure, with its 95 % interval. */
export interface SanityStep extends Interval {
  /** The module whose weights were shuffled at this step; empty for `random-logit`. */
  readonly layer: string;
  /** One for each image and target: in [-1, 1], NaN where one of the two maps is flat or not finite. */
  readonly similarities: readonly number[];
}

/** A sanity check of a method: maps that stay the same do not depend on what was changed. */
export interface SanityCheck {
  /** The check that was made. */
  readonly check: SanityCheckName;
  /** The method's name. */
  readonly method: string;
  /** How alike two maps are said to be. */
  readonly similarity: Similarity;
  /** As many as there are layers, one of `random-logit`. */
  readonly steps: readonly SanityStep[];
}
