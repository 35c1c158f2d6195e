import type { z } from 'zod';

import type { METHODS, MethodName } from '../methods/index.js';
import type { Method } from '../methods/method.js';
import type { Run, Value } from '../symbolic/index.js';
import type { HeatMap, Prediction } from './heatmap.js';
import type { DenseTarget } from './dense/targets.js';
import type { Target } from './targets.js';

/** The subject of a map: a class of the image, of a mask, or of a box. */
export type ExplainTarget = Target | DenseTarget;

/** Options that every method takes. */
export interface CommonOptions {
  /**
   * Classes to explain, one map each, all from one run of the model: indices, labels, `top1` (the default), `topK`. Of
   * a model that returns masks `{ mask: class }`, at a `point` or over a `region`; of a detector `{ box: n }`. A list
   * of lists gives each image its own.
   */
  readonly targets?: readonly ExplainTarget[] | readonly (readonly ExplainTarget[])[] | undefined;
  /**
   * The score that is explained of the class: its `logit` (default), its `probability`, or any value per image computed
   * from what the model gives:
   * `({ output }) => symbolic.sum(symbolic.select(output, 'classes', 3), ['height', 'width'])`.
   */
  readonly score?: Score | undefined;
  /**
   * Of a model that returns several, the output that is explained: a dict's key or a place, such as `1`. Its classes
   * are numbered, since a card's labels are those of the usual one. Default: that of `Model.load`.
   */
  readonly output?: string | number | undefined;
  /** `image` (default): maps of the model's input size, upsampled bilinearly. `grid`: as the method computes them. */
  readonly size?: 'grid' | 'image' | undefined;
  /** Leaves the map's own values; by default each map is brought to [0, 1]. */
  readonly raw?: boolean | undefined;
  /** How many of the best classes `predictions` lists: 1 to 1,000,000, all where the model has fewer. Default 5. */
  readonly top?: number | undefined;
  /** Bytes that one chunk of a sampling method may take: 1 or more. Default 1 GiB. */
  readonly memory?: number | undefined;
  /**
   * Most pixels of an image: 1 or more. Larger images are refused before they are decoded. Default: that of
   * `Model.load`.
   */
  readonly maxPixels?: number | undefined;
  /**
   * Whose request it is, such as a user's name: at most 256 characters. Requests of different clients take turns, so
   * that many of one do not hold up another's. Default: one client for all that name none.
   */
  readonly client?: string | undefined;
  /** Aborting rejects with ABORTED at once. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** The score of a run that is explained. A function returns a value [batch]. */
export type Score = 'logit' | 'probability' | ((run: Run) => Value);

/** How the maps of several layers become one. */
export const FUSIONS = ['mean', 'max', 'product'] as const;
/** How the maps of several layers become one. */
export type Fusion = (typeof FUSIONS)[number];

/** Options of methods that explain layers. */
export interface LayerOptions {
  /**
   * A layer, or several: their maps are upsampled to the input size whatever `size` says, brought to [0, 1] and fused.
   * Default: `inspect().targetLayer`.
   */
  readonly layer?: string | readonly string[] | undefined;
  /** How several layers' maps are fused. Default `mean`. */
  readonly fusion?: Fusion | undefined;
  /**
   * Averages the maps of the image and its mirror image, each times 0.9, 1 and 1.1, mirrored back: six runs. Maps are
   * of the input size whatever `size` says. Default false.
   */
  readonly augmentationSmoothing?: boolean | undefined;
}

/** A method's own options, before defaults. */
export type MethodOptions<M extends MethodName> = z.input<(typeof METHODS)[M]['options']>;
/** A method's own options, with defaults filled in. */
export type MethodSettings<M extends MethodName> = z.output<(typeof METHODS)[M]['options']>;
/** A method without options has a type that no other property may be added to. */
type OwnOptions<M extends MethodName> = MethodOptions<M> extends Record<string, never> ? unknown : MethodOptions<M>;
type UsesLayer<M extends MethodName> = (typeof METHODS)[M]['usesLayer'];
type LayerOf<M extends MethodName> = UsesLayer<M> extends true ? string : null;

/** Options of one method by name. */
export type NamedOptions<M extends MethodName> = M extends MethodName
  ? { readonly method: M } & OwnOptions<M> & (UsesLayer<M> extends true ? LayerOptions : unknown) & CommonOptions
  : never;

/** Options of a method of your own, made with `defineMethod`. */
export type CustomOptions<Schema extends z.ZodType> = {
  readonly method: Method<Schema>;
  readonly options?: z.input<Schema>;
} & LayerOptions &
  CommonOptions;

/** Options where the method is left to the model. */
export type UnnamedOptions = { readonly method?: undefined } & CommonOptions;

/** Options of a bundled method: the method's own, and those that every method takes. */
export type ExplainOptions = NamedOptions<MethodName>;

/** The explanation of one image by one method. */
export interface Explanation<
  Name extends string = MethodName,
  Settings = MethodSettings<MethodName>,
  Layer extends string | null = string | null,
> {
  /** The image's file name, or `image-0`, `image-1`, ... */
  readonly image: string;
  /** The method's name. */
  readonly method: Name;
  /** The method's options as they took effect. */
  readonly options: Settings;
  /** The best classes by probability, best first: as many as `top` says. */
  readonly predictions: readonly Prediction[];
  /** One per target, in the order asked for; of `deep-feature-factorization` one per concept. */
  readonly maps: readonly HeatMap<Layer>[];
  /** Samples in one run of the model, as `memory` allowed; null for methods that take no samples. */
  readonly chunk: number | null;
}

/** The explanation that a bundled method gives. */
export type NamedExplanation<M extends MethodName> = M extends MethodName
  ? Explanation<M, MethodSettings<M>, LayerOf<M>>
  : never;

/** The request, checked as far as can be without the model. */
export interface ExplainRequest {
  readonly method: Method;
  readonly settings: unknown;
  /** Those asked for; null where the model chooses. */
  readonly layers: readonly string[] | null;
  readonly layering: Required<Pick<LayerOptions, 'fusion' | 'augmentationSmoothing'>>;
  readonly common: CommonOptions;
}
