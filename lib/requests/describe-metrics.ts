import { METRIC_NAMES, METRICS, type MetricName } from '../metrics/index.js';
import type { MetricFamily } from '../metrics/metric.js';
import type { PresetRows } from '../methods/presets.js';
import documentation from './documentation/metrics.js';
import { readDefaults, schemaOf, type Descriptions, type OptionsSchema } from './options-schema.js';

/** The description of a metric: enough for a page about it, or for a form of its options. Plain JSON. */
export interface MetricDescription {
  /** As `evaluate` takes it. */
  readonly name: MetricName;
  /** The question that it asks. */
  readonly family: MetricFamily;
  /** Whether a better map has a higher or a lower figure. */
  readonly better: 'higher' | 'lower';
  /** Whether it needs to know where the object is. */
  readonly needsMask: boolean;
  /** Whether it reads the score of a class. */
  readonly readsScore: boolean;
  /** The first sentence of `description`. */
  readonly summary: string;
  /** The definition, the range and the paper. An empty line separates paragraphs. */
  readonly description: string;
  /** The metric's own options. */
  readonly options: OptionsSchema;
  /** Settings by the name of the option `compat`: where the package's defaults differ. */
  readonly packages: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** Every metric: its options with types, ranges and defaults, and what they mean. */
export function describeMetrics(): MetricDescription[] {
  return METRIC_NAMES.map((name) => {
    const { family, better, needsMask, readsScore, options } = METRICS[name];
    const documented: { readonly description: string; readonly options: Descriptions } = documentation[name];
    const { defaults, rows } = options as Partial<{ defaults: Record<string, unknown>; rows: PresetRows }>;
    const { description } = documented;
    return {
      name,
      family,
      better,
      needsMask,
      readsScore,
      summary: /^.*?[.](?=\s|$)/s.exec(description)?.[0] ?? description,
      description,
      options: schemaOf(options, documented.options, defaults ?? readDefaults(options)),
      packages: (rows?.packages ?? {}) as MetricDescription['packages'],
    };
  });
}
