import type { z } from 'zod';

import type { MethodName } from '../../methods/index.js';
import type { Metric } from '../../metrics/metric.js';
import type { METRICS, MetricName } from '../../metrics/index.js';
import type { CustomOptions, NamedOptions, Score } from '../explain.js';
import type { ExplainedTarget, HeatMap } from '../heatmap.js';
import type { Target } from '../targets.js';
import type { ObjectPlace } from './mask.js';

/** A method to be judged: its name, or its options, with a name for its rows where two would be called alike. */
export type JudgedMethod =
  | MethodName
  | (NamedOptions<MethodName> & { readonly label?: string | undefined })
  | (CustomOptions<z.ZodType> & { readonly label?: string | undefined });

type NamedMetric = {
  readonly [Name in MetricName]: { readonly metric: Name; readonly label?: string | undefined } & z.input<
    (typeof METRICS)[Name]['options']
  >;
}[MetricName];

/** A metric: its name, or its options, with a name for its column where two would be called alike. */
export type JudgingMetric =
  | MetricName
  | NamedMetric
  | { readonly metric: Metric; readonly options?: object | undefined; readonly label?: string | undefined };

/** Options of `evaluate`. */
export interface EvaluateOptions {
  /** Methods to be judged: 1 to 100. */
  readonly methods: readonly JudgedMethod[];
  /** Metrics: 1 to 100. */
  readonly metrics: readonly JudgingMetric[];
  /** The classes whose maps are judged, as in `explain`. Default: the predicted one. */
  readonly targets?: readonly Target[] | readonly (readonly Target[])[] | undefined;
  /** The score that methods explain, as in `explain`; metrics have an option of their own. Default: the logit. */
  readonly score?: Score | undefined;
  /** Where the object is, one for each image; metrics of localization need it. Default: none. */
  readonly objects?: readonly ObjectPlace[] | undefined;
  /** Of a model that returns several, the output that is explained. Default: that of `Model.load`. */
  readonly output?: string | number | undefined;
  /** Bytes that one chunk of a loop may take: 1 or more. Default 1 GiB. */
  readonly memory?: number | undefined;
  /** Most pixels of an image: 1 or more. Default: that of `Model.load`. */
  readonly maxPixels?: number | undefined;
  /** Whose request it is: at most 256 characters. Default: one client for all that name none. */
  readonly client?: string | undefined;
  /** Called after each image and method. Default: nothing. */
  readonly onProgress?: ((progress: EvaluateProgress) => void) | undefined;
  /** Aborting rejects with ABORTED at once. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** How far an evaluation is. */
export interface EvaluateProgress {
  /** Images judged, each method's counted. */
  readonly done: number;
  /** Images times methods. */
  readonly total: number;
}

/** A metric's curve: the score after each step. */
export interface MetricCurve {
  /** The share of the image's pixels that are replaced at each point. */
  readonly shares: Float32Array;
  /** The score at each point. */
  readonly scores: Float32Array;
}

/** The metrics' figures of one map. */
export interface Judgement {
  /** The image's file name, or `image-0`, `image-1`, ... */
  readonly image: string;
  /** The method's label. */
  readonly method: string;
  /** The class that was explained. */
  readonly target: ExplainedTarget;
  /** `flat` and `nan` maps mark nothing: their figures are NaN. */
  readonly state: HeatMap['state'];
  /** A figure for each metric, by its label; NaN where it has none. */
  readonly figures: Readonly<Record<string, number>>;
  /** Curves of the metrics that have one, by label. */
  readonly curves: Readonly<Record<string, MetricCurve>>;
}
