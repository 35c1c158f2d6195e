import { z } from 'zod';

import { METRIC_NAMES, METRICS, type MetricName } from '../../metrics/index.js';
import type { Metric } from '../../metrics/metric.js';
import { cut, shown } from '../../support/cut.js';
import { SightlineError } from '../../support/errors.js';
import { suggestion } from '../../support/nearest.js';
import { parseOptions, reading, readOptions } from '../../support/options.js';
import { classTargetsSchema, commonSchema, parseExplainOptions } from '../explain-options.js';
import type { ExplainRequest } from '../explain.js';
import type { EvaluateOptions, EvaluateProgress } from './evaluate.js';
import { placeSchema, type ObjectPlace } from './mask.js';

/** Each records plans of its own, on the JavaScript thread. */
const MOST = 100;

const { score, output, memory, maxPixels, client, signal } = commonSchema.shape;
const list = (of: string): z.ZodArray => {
  const error = `a list of 1 to ${MOST} ${of} is expected`;
  return z.array(z.unknown(), { error }).min(1, { error }).max(MOST, { error });
};
const schema = z.strictObject({
  methods: list('methods'),
  metrics: list('metrics'),
  objects: z.array(placeSchema).optional(),
  onProgress: z
    .custom<(progress: EvaluateProgress) => void>((value) => typeof value === 'function', {
      error: 'a function is expected',
    })
    .optional(),
  targets: classTargetsSchema,
  score,
  output,
  memory,
  maxPixels,
  client,
  signal,
});

/** A method with the name of its rows. */
export interface LabelledMethod {
  readonly label: string;
  readonly request: ExplainRequest;
}

/** A metric with the name of its column, and its options. */
export interface LabelledMetric {
  readonly label: string;
  readonly metric: Metric;
  readonly settings: unknown;
}

/** What is asked of an evaluation, checked as far as can be without the model. */
export interface EvaluateRequest {
  readonly methods: readonly LabelledMethod[];
  readonly metrics: readonly LabelledMetric[];
  readonly objects: readonly ObjectPlace[] | null;
  readonly onProgress: ((progress: EvaluateProgress) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

/** @throws SightlineError INVALID_OPTION */
export function parseEvaluateOptions(options: EvaluateOptions): EvaluateRequest {
  const { methods, metrics, objects, onProgress, ...common } = parseOptions(schema, options, 'evaluate');
  const labelledMethods = methods.map((asked): LabelledMethod => {
    const { label, ...own } = withLabel(typeof asked === 'string' ? { method: asked } : asked, 'method');
    const foreign = ['targets', 'output', 'client', 'signal', 'maxPixels', 'size', 'raw', 'top'].find(
      (name) => name in own,
    );
    if (foreign !== undefined) {
      throw new SightlineError(
        'INVALID_OPTION',
        `A method of evaluate takes no \`${foreign}\`: ${['size', 'raw', 'top'].includes(foreign) ? 'maps are judged as they are, as large as the model sees the image' : 'give it beside `methods`, for all of them'}.`,
      );
    }
    const { score: scoreOfAll, ...others } = common;
    const request = parseExplainOptions({ ...others, size: 'image', ...own });
    // A method without classes explains no score, whatever the others do.
    const scored =
      scoreOfAll !== undefined && request.method.isClassSpecific && request.common.score === undefined
        ? { ...request, common: { ...request.common, score: scoreOfAll as ExplainRequest['common']['score'] } }
        : request;
    return { label: label ?? request.method.name, request: scored };
  });
  const labelledMetrics = metrics.map((asked): LabelledMetric => {
    const { label, metric: named, ...own } = withLabel(typeof asked === 'string' ? { metric: asked } : asked, 'metric');
    const metric = findMetric(named);
    const given = typeof named === 'object' ? ((own['options'] as object | undefined) ?? {}) : own;
    return { label: label ?? metric.name, metric, settings: settingsOf(metric, given) };
  });
  checkLabels(labelledMethods, 'method');
  checkLabels(labelledMetrics, 'metric');
  const needing = labelledMetrics.find(({ metric }) => metric.needsMask);
  if (needing !== undefined && objects === undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${needing.metric.name} compares the map with where the object is; give \`objects\`, a mask or boxes for each image.`,
    );
  }
  return {
    methods: labelledMethods,
    metrics: labelledMetrics,
    objects: objects ?? null,
    onProgress,
    signal: common.signal,
  };
}

function withLabel(asked: unknown, what: string): Record<string, unknown> & { label?: string } {
  if (typeof asked !== 'object' || asked === null) {
    throw new SightlineError(
      'INVALID_OPTION',
      `A ${what} of evaluate is its name or its options, such as { ${what}: ... }, not ${shown(asked)}.`,
    );
  }
  const own = readOptions(asked, 'evaluate');
  const { label } = own;
  if (label !== undefined && (typeof label !== 'string' || label === '')) {
    throw new SightlineError('INVALID_OPTION', `The label of a ${what} is a text, not ${shown(label)}.`);
  }
  return own;
}

function checkLabels(labelled: readonly { readonly label: string }[], what: string): void {
  const labels = labelled.map(({ label }) => label);
  const twice = labels.find((label, i) => labels.indexOf(label) < i);
  if (twice === undefined) return;
  throw new SightlineError(
    'INVALID_OPTION',
    `evaluate has two of the ${what} "${cut(twice)}"; tell them apart by a \`label\`.`,
  );
}

/** @throws SightlineError INVALID_OPTION with the nearest names. */
function findMetric(asked: unknown): Metric {
  if (typeof asked === 'string' && Object.hasOwn(METRICS, asked)) return METRICS[asked as MetricName];
  if (typeof asked === 'object' && asked !== null) {
    const { name, measure, options } = asked as Partial<Metric>;
    if (typeof name === 'string' && typeof measure === 'function' && typeof options?.safeParse === 'function') {
      return asked as Metric;
    }
    throw new SightlineError(
      'INVALID_OPTION',
      'The metric given to evaluate has no usable `name`, `measure` or `options`; make it with defineMetric.',
    );
  }
  const hint = typeof asked === 'string' ? suggestion(asked, METRIC_NAMES) : '';
  throw new SightlineError(
    'INVALID_OPTION',
    `There is no metric ${shown(asked)}. ${hint || `Known: ${METRIC_NAMES.join(', ')}.`}`,
  );
}

function settingsOf(metric: Metric, given: object): unknown {
  const parsed = reading(`The options of ${metric.name}`, () => metric.options.safeParse(given));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const known = 'shape' in metric.options ? Object.keys(metric.options.shape as object) : [];
    const has = known.length === 0 ? 'it has none of its own' : `its own are ${known.join(', ')}`;
    throw new SightlineError('INVALID_OPTION', `${metric.name} has no option "${cut(issue.keys[0]!)}"; ${has}.`);
  }
  throw new SightlineError(
    'INVALID_OPTION',
    `The option ${issue.path.join('.')} of ${metric.name} is wrong: ${cut(issue.message)}.`,
  );
}
