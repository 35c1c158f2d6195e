import { averageDrop, averageGain, increaseInConfidence } from './average-drop.js';
import { negativePerturbation, positivePerturbation } from './chefer.js';
import { complexity, effectiveComplexity, sparseness } from './complexity.js';
import { faithfulnessCorrelation, faithfulnessEstimate, monotonicity } from './correlation.js';
import { deletion, insertion, pixelFlipping } from './deletion.js';
import { infidelity } from './infidelity.js';
import {
  averagePrecision,
  intersectionOverUnion,
  localizationAuc,
  massAccuracy,
  pixelAccuracy,
  pointingGame,
  rankAccuracy,
  topKIntersection,
} from './localization.js';
import type { Metric } from './metric.js';
import { regionPerturbation, selectivity } from './regions.js';
import { road, roadLeastRelevantFirst, roadMostRelevantFirst } from './road.js';
import { averageSensitivity, localLipschitz, maxSensitivity } from './sensitivity.js';

/** Every bundled metric by its name. */
export const METRICS = {
  deletion,
  insertion,
  'positive-perturbation': positivePerturbation,
  'negative-perturbation': negativePerturbation,
  'pixel-flipping': pixelFlipping,
  'region-perturbation': regionPerturbation,
  selectivity,
  road,
  'road-morf': roadMostRelevantFirst,
  'road-lerf': roadLeastRelevantFirst,
  'average-drop': averageDrop,
  'increase-in-confidence': increaseInConfidence,
  'average-gain': averageGain,
  'faithfulness-correlation': faithfulnessCorrelation,
  'faithfulness-estimate': faithfulnessEstimate,
  monotonicity,
  infidelity,
  'pointing-game': pointingGame,
  'mass-accuracy': massAccuracy,
  'rank-accuracy': rankAccuracy,
  'top-k-intersection': topKIntersection,
  'localization-auc': localizationAuc,
  'average-precision': averagePrecision,
  iou: intersectionOverUnion,
  'pixel-accuracy': pixelAccuracy,
  'max-sensitivity': maxSensitivity,
  'average-sensitivity': averageSensitivity,
  'local-lipschitz': localLipschitz,
  sparseness,
  complexity,
  'effective-complexity': effectiveComplexity,
} as const satisfies Record<string, Metric>;

/** The name of a bundled metric. */
export type MetricName = keyof typeof METRICS;
/** All of them. */
export const METRIC_NAMES = Object.keys(METRICS) as readonly MetricName[];
