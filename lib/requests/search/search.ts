import type { MethodName } from '../../methods/index.js';
import type { JudgingMetric, JudgedMethod } from '../evaluate/evaluate.js';
import type { ObjectPlace } from '../evaluate/mask.js';
import type { Interval } from '../evaluate/statistics.js';
import type { Score } from '../explain.js';
import type { Target } from '../targets.js';

/**
 * A method with several values of some of its options: every combination is a candidate. Other options are fixed for
 * all, such as `{ method: 'gradient-rollout', row: 'class-token', over: { residualWeight: [0, 0.5] } }`.
 */
export interface SearchSpace {
  /** The method's name. */
  readonly method: MethodName;
  /** For each option the values that are tried. */
  readonly over: Readonly<Record<string, readonly unknown[]>>;
  /** Options that are the same for all. */
  readonly [option: string]: unknown;
}

/** Options of `search`. */
export interface SearchOptions {
  /**
   * Methods and spaces to try: 2 to 2,000 candidates, once spaces are taken apart. Default: those that suit the model.
   * With attention over all tokens these are settings of attention rollout and gradient rollout. Else they are layers
   * of the CAM methods, with and without augmentation smoothing.
   */
  readonly candidates?: readonly (JudgedMethod | SearchSpace)[] | undefined;
  /** The metric that decides. */
  readonly metric: JudgingMetric;
  /** The share of the images that the winner is tried on and not chosen by, in [0, 1). Default 0.5. */
  readonly heldOut?: number | undefined;
  /** By which images are held out and intervals are drawn: 0 to 4,294,967,295. Default 0. */
  readonly seed?: number | undefined;
  /** The classes whose maps are judged, as in `evaluate`. Default: the predicted one. */
  readonly targets?: readonly Target[] | readonly (readonly Target[])[] | undefined;
  /** The score that methods explain, as in `explain`. Default: the logit. */
  readonly score?: Score | undefined;
  /** Where the object is, one for each image; metrics of localization need it. Default: none. */
  readonly objects?: readonly ObjectPlace[] | undefined;
  /** Bytes that one chunk of a loop may take: 1 or more. Default 1 GiB. */
  readonly memory?: number | undefined;
  /** Called after each image. Default: nothing. */
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
  /** Aborting rejects with ABORTED. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** A candidate and its figure on the images that decide. */
export interface SearchCandidate {
  /** Its options: `explain` and `evaluate` take them as they are, and JSON keeps them. */
  readonly options: JudgedMethod;
  /** The method, and what was tried of its options. */
  readonly label: string;
  /** The mean of its figures; NaN where it has none. */
  readonly mean: number;
  /** Maps that have a figure. */
  readonly count: number;
  /** Maps that have none. */
  readonly without: number;
}

/** By how much the winner is better than the paper's default of the same method. */
export interface SearchGain {
  /** The winner's mean. */
  readonly best: Interval;
  /** That of the method's default options. */
  readonly paper: Interval;
  /** The winner's figure less the default's, map by map; the other way round where lower is better. */
  readonly gain: Interval;
  /** How likely so large a mean gain would be by chance: a paired sign-flip test. NaN without pairs. */
  readonly pValue: number;
  /** Images. */
  readonly images: number;
}

/** The winner of a search, and how sure that is. */
export interface SearchResult {
  /** The metric's label. */
  readonly metric: string;
  /** Whether a better map has a higher or a lower figure. */
  readonly better: 'higher' | 'lower';
  /** The winner. */
  readonly best: SearchCandidate;
  /** All candidates, the best first; those with fewer figures than the default of their method are last. */
  readonly candidates: readonly SearchCandidate[];
  /** On the images that decided: too good, since the winner is the best of many there. */
  readonly chosenOn: SearchGain;
  /** On the images that were held out: what to expect of others. Null where none were. */
  readonly heldOut: SearchGain | null;
}
