import type { z } from 'zod';

import type { SymbolicModel, Value } from '../symbolic/index.js';

/**
 * The question of a metric. `faithfulness`: does the model's answer change where the map says so. `localization`: does
 * the map lie on the object. `robustness`: does the map stay the same where the image hardly changes. `complexity`: how
 * few pixels does the map rest on.
 */
export type MetricFamily = 'faithfulness' | 'localization' | 'robustness' | 'complexity';

/** The input of a metric. */
export interface MetricInput<Options> {
  /** The model on the images. */
  readonly model: SymbolicModel;
  /** The map that is judged, with its own values, as large as the model's input: [batch, height, width]. */
  readonly map: Value;
  /** The same method's map of other images [batch, channels, height, width]: [batch, height, width]. */
  readonly mapOf: (images: Value) => Value;
  /** 1 on the object and 0 beside it, given with each image: [batch, height, width]. Only where `needsMask`. */
  readonly mask: () => Value;
  /** The metric's own options, defaults filled in. */
  readonly options: Options;
}

/** A figure, and what it was read from. */
export interface MetricResult {
  /** The figure: [batch]. */
  readonly value: Value;
  /** The score after each step: [batch, sample]. */
  readonly curve?: Value;
  /** The share of the image's pixels that are replaced at each step of the curve. */
  readonly shares?: readonly number[];
}

/** A metric: a pure function from a map and the model to a figure for each image, recorded like a method. */
export interface Metric<Schema extends z.ZodType = z.ZodType> {
  /** Its name in options and results. */
  readonly name: string;
  /** Its question. */
  readonly family: MetricFamily;
  /** Whether a better map has a higher or a lower figure. */
  readonly better: 'higher' | 'lower';
  /** Whether it needs to know where the object is. */
  readonly needsMask: boolean;
  /** Whether it reads the score of a class, and so differs by target whatever the method. */
  readonly readsScore: boolean;
  /** Its own options with their defaults. */
  readonly options: Schema;
  /** The figure: [batch]. */
  readonly measure: (input: MetricInput<z.output<Schema>>) => Value | MetricResult;
}

/** Makes a metric of its parts; for a metric of your own, pass the result to `evaluate` in place of a name. */
export function defineMetric<Schema extends z.ZodType>(definition: Metric<Schema>): Metric<Schema> {
  return definition;
}
