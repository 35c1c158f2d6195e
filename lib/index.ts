/** sightline explains what vision models see: see README.md. */
import { binding, fromNative } from './engine/binding.js';
import type { DeviceMemory, NativeStats, NativeVersions } from './engine/native-types.js';

export { Model } from './model/model.js';
export type { LoadOptions } from './model/load.js';
export type { CloseOptions } from './model/close-options.js';
export type { ShuffleOptions } from './model/shuffle-options.js';
export type { InspectOptions, ModelInspection } from './model/inspections.js';
export {
  findPulled,
  type Pulled,
  type PulledCard,
  type PulledModel,
  type PullOptions,
  type PullProgress,
} from './hub/index.js';
export { pull } from './model/pull.js';
export { catalog, type CatalogCard } from './models/catalog.js';
export { bundledModels, DEFAULT_MODEL } from './models/bundled.js';
export type { ModelWeights } from './models/card.js';
export { ERROR_CODES, SightlineError, type ErrorCode } from './support/errors.js';
export type { IsolateOptions } from './archives/isolation.js';
export type {
  CommonOptions,
  CustomOptions,
  ExplainOptions,
  ExplainTarget,
  Explanation,
  Fusion,
  LayerOptions,
  MethodOptions,
  MethodSettings,
  NamedExplanation,
  NamedOptions,
  Score,
  UnnamedOptions,
} from './requests/explain.js';
export type { ClassLabel, ExplainedTarget, HeatMap, Prediction } from './requests/heatmap.js';
export type { Predicted, PredictOptions } from './requests/predict.js';
export type { BySite, Capture, CapturedTensors, CaptureOptions, Sites } from './requests/capture.js';
export type { AttentionMap, AttentionMapOptions } from './requests/attention-maps.js';
export {
  GeneratedImage,
  type AttentionObjective,
  type BlurOptions,
  type ClassObjective,
  type FeatureObjective,
  type GridPlace,
  type MaximizeObjective,
  type MaximizeOptions,
  type MaximizeProgress,
  type MaximizeSettings,
  type Maximized,
  type ProjectionObjective,
} from './requests/maximize/maximize.js';
export type {
  EvaluateOptions,
  EvaluateProgress,
  JudgedMethod,
  Judgement,
  JudgingMetric,
  MetricCurve,
} from './requests/evaluate/evaluate.js';
export { mosaics, type LabelledImage, type Mosaic, type MosaicOptions } from './requests/evaluate/mosaics.js';
export { sufficiency, type SufficiencyOptions } from './requests/evaluate/sufficiency.js';
export type { Box, ObjectPlace } from './requests/evaluate/mask.js';
export { Evaluation, type Summary, type SummaryOptions } from './requests/evaluate/evaluation.js';
export type {
  SearchCandidate,
  SearchGain,
  SearchOptions,
  SearchResult,
  SearchSpace,
} from './requests/search/search.js';
export {
  SANITY_CHECKS,
  type SanityCheck,
  type SanityCheckName,
  type SanityOptions,
  type SanityStep,
} from './requests/sanity/sanity.js';
export { SIMILARITIES, type Similarity } from './requests/sanity/similarity.js';
export { METRIC_NAMES, type MetricName } from './metrics/index.js';
export { defineMetric, type Metric, type MetricFamily, type MetricInput, type MetricResult } from './metrics/metric.js';
export type { Input, TensorInput } from './images/inputs.js';
export type { ImageInput, RawImage } from './images/image-input.js';
export type { OverlayOptions } from './pictures/overlay.js';
export type { Raster } from './pictures/canvas.js';
export type { Picture, PictureFormat, PictureOptions } from './pictures/picture.js';
export type { Colormap } from './pictures/colormaps.js';
export type {
  Applicability,
  AttentionInfo,
  Inspection,
  Layout,
  NodeInfo,
  PooledHead,
  TokenGrid,
} from './engine/inspection.js';
export type { ModelCard, ModelInput } from './models/card.js';
export type { ClassName, Target } from './requests/targets.js';
export type { BoxTarget, DenseTarget, MaskTarget } from './requests/dense/targets.js';
export type { BoxesForm, DenseForm, MasksForm } from './requests/dense/form.js';
export type { DenseCard } from './models/dense-card.js';
export type { DeviceMemory, NativeStats, NativeVersions, Tensor } from './engine/native-types.js';
export { getThreads, setThreads } from './engine/threads.js';
export { METHOD_NAMES, type MethodName } from './methods/index.js';
export { describeMethod, describeMethods, type MethodDescription } from './requests/describe.js';
export { describeMetrics, type MetricDescription } from './requests/describe-metrics.js';
export type { OptionSchema, OptionsSchema } from './requests/options-schema.js';
export { defineMethod, type MapResult, type Method, type MethodInput } from './methods/method.js';
export * as symbolic from './symbolic/index.js';
/** zod, by which a method of your own says what its options are. */
export { z } from 'zod';
export { contactSheet, type SheetCell, type SheetOptions } from './pictures/sheet.js';
export { planesSheet, type Plane, type PlanesOptions } from './pictures/planes.js';
export { decodeNpy, encodeNpy } from './support/npy.js';

/** Counters of the engine, for metrics and leak tests. */
export function stats(): NativeStats {
  return binding().stats();
}

/**
 * The memory that LibTorch's allocator holds on a GPU; null on the CPU, which does not count.
 *
 * @param device such as `cuda:0`
 * @param options.resetPeak reset the peak after it was read
 * @throws SightlineError INVALID_OPTION, DEVICE_UNAVAILABLE
 */
export function deviceMemory(device: string, options: { readonly resetPeak?: boolean } = {}): DeviceMemory | null {
  try {
    return binding().deviceMemory?.(device, options.resetPeak ?? false) ?? null;
  } catch (error) {
    throw fromNative(error);
  }
}

/** Versions and abilities of the LibTorch that is loaded. */
export function versions(): NativeVersions {
  return binding().versions();
}
