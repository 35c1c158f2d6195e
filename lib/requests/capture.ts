import { z } from 'zod';

import type { NativeResult, Tensor } from '../engine/native-types.js';
import { SightlineError } from '../support/errors.js';
import type { Inspection } from '../engine/inspection.js';
import { parseOptions } from '../support/options.js';
import { grad, SymbolicModel, type Value } from '../symbolic/index.js';
import type { PlanDescription } from '../engine/plan-description.js';
import { PlanRecorder } from '../symbolic/recorder.js';
import { keyOf } from './plan-keys.js';
import { clientOption, outputOption, type Request } from './question.js';
import { resolveTargets, type Target } from './targets.js';

/** Which attention sites: all, or by their number in `inspect().attention`. */
export type Sites = 'all' | readonly number[];

/**
 * The values to read out of the model. All come as float32, also what the model computes in whole numbers: exact up to
 * 2^24.
 */
export interface CaptureOptions {
  /** Module outputs by name. Default: none. */
  readonly features?: readonly string[] | undefined;
  /**
   * Probabilities [N, heads, queries, keys]; [N, windows, heads, queries, keys] where attention is windowed. Default:
   * none.
   */
  readonly attention?: Sites | undefined;
  /** Queries before any scaling: [N, heads, tokens, head size]. Default: none. */
  readonly query?: Sites | undefined;
  /** Keys before any scaling: [N, heads, tokens, head size]. Default: none. */
  readonly key?: Sites | undefined;
  /** Values: [N, heads, tokens, head size]. Default: none. */
  readonly value?: Sites | undefined;
  /** Whether to give the preprocessed images that the model sees: [N, 3, H, W]. Default false. */
  readonly input?: boolean | undefined;
  /** The gradient of the target class's logit with respect to everything that is captured. Default: none. */
  readonly gradients?: { readonly target: Target } | undefined;
  /** Of a model that returns several, the output that `gradients` are of. Default: that of `Model.load`. */
  readonly output?: string | number | undefined;
  /**
   * Whose request it is, such as a user's name: at most 256 characters. Requests of different clients take turns, so
   * that many of one do not hold up another's. Default: one client for all that name none.
   */
  readonly client?: string | undefined;
  /** Aborting rejects with ABORTED at once. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** Attention tensors by the number of their site. */
export type BySite = Readonly<Record<number, Tensor>>;

/** Tensors that `capture` read, by the name of what was asked for. */
export interface CapturedTensors {
  /** Module outputs by name. */
  readonly features: Readonly<Record<string, Tensor>>;
  /** Probabilities by site. */
  readonly attention: BySite;
  /** Queries by site. */
  readonly query: BySite;
  /** Keys by site. */
  readonly key: BySite;
  /** Values by site. */
  readonly value: BySite;
}

/** Everything that was captured, the batch axis first. */
export interface Capture extends CapturedTensors {
  /** The preprocessed images: [N, 3, H, W]; null unless asked for. */
  readonly input: Tensor | null;
  /** Before softmax: [N, classes]. Null when no gradient was asked for: the operators after the last tap do not run. */
  readonly logits: Tensor | null;
  /** Of the same names and shapes; null unless asked for. */
  readonly gradients: CapturedTensors | null;
  /** The class that was differentiated, for each image; empty without gradients. */
  readonly targets: readonly number[];
  /** Operators of the model that were run. */
  readonly operators: number;
}

/** More than any model has nodes; each is copied out. */
const MOST_TAPS = 10_000;
const sites = z.union([z.literal('all'), z.array(z.int().min(0)).max(MOST_TAPS)]).optional();
const schema = z.strictObject({
  features: z.array(z.string()).max(MOST_TAPS).optional(),
  attention: sites,
  query: sites,
  key: sites,
  value: sites,
  input: z.boolean().optional(),
  gradients: z.strictObject({ target: z.union([z.number(), z.string()]) }).optional(),
  output: outputOption.optional(),
  client: clientOption,
  signal: z.instanceof(AbortSignal).optional(),
});

const OF_SITES = ['attention', 'query', 'key', 'value'] as const;

/**
 * Its answers, one for each image, are what `readCapture` puts together.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function captureRequest(options: CaptureOptions): Request<NativeResult> {
  const { client, signal, output, ...asked } = parseOptions(schema, options, 'capture');
  return {
    signal,
    client,
    output: output?.toString(),
    question: ({ labels }) => {
      const targets = asked.gradients ? resolveTargets([asked.gradients.target], labels) : [];
      if (targets.length > 1) {
        throw new SightlineError(
          'INVALID_OPTION',
          'capture takes the gradient of one class; ask for a class index, a label or top1.',
        );
      }
      return {
        key: keyOf(['capture', asked]),
        targetsOf: () => targets,
        record: (inspection) => recordCapture(asked, inspection),
        read: (result) => result,
      };
    },
  };
}

/** @throws SightlineError UNKNOWN_NODE, METHOD_NOT_APPLICABLE, INVALID_OPTION */
function recordCapture(options: CaptureOptions, inspection: Inspection): PlanDescription {
  const plan = new PlanRecorder('capture');
  const model = new SymbolicModel(plan, inspection);
  const captured: [string, Value][] = [];
  for (const name of new Set(options.features)) captured.push([`features/${name}`, model.output.returned(name)]);
  for (const kind of OF_SITES) {
    for (const site of numbersOf(options[kind], inspection, kind)) {
      captured.push([`${kind}/${site}`, model.output[kind](site)]);
    }
  }
  if (captured.length === 0 && !options.input) {
    throw new SightlineError(
      'INVALID_OPTION',
      'Nothing to capture: name features, attention, query, key, value or input.',
    );
  }
  if (options.gradients && captured.length === 0) {
    throw new SightlineError(
      'INVALID_OPTION',
      'Gradients are taken with respect to what is captured: name features, attention, query, key or value.',
    );
  }
  if (options.input) plan.output('input', model.image);
  for (const [name, value] of captured) plan.output(name, value);
  if (options.gradients) {
    checkGradients(options, inspection);
    const { logits, score } = model.output;
    plan.rankBy(logits);
    plan.output('logits', logits);
    for (const [name, value] of captured) plan.output(`gradients/${name}`, grad(score, value));
  }
  return plan.finish(2 ** 30, inspection);
}

/** @throws SightlineError METHOD_NOT_APPLICABLE where no gradient of the score comes to what is captured */
function checkGradients(options: CaptureOptions, inspection: Inspection): void {
  if (inspection.isQuantized) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      'Gradients cannot be captured: the weights are quantized, and quantized operators have no gradients.',
    );
  }
  const features = inspection.nodes
    .filter(({ name }) => options.features?.includes(name))
    .map(({ name, gradientObstacle }) => ({ what: `features ${name}`, gradientObstacle }));
  const sites = OF_SITES.flatMap((kind) =>
    numbersOf(options[kind], inspection, kind).map((site) => ({
      what: `${kind} ${site}`,
      gradientObstacle: inspection.attention[site]!.gradientObstacle,
    })),
  );
  for (const { what, gradientObstacle } of [...features, ...sites]) {
    if (gradientObstacle === '') continue;
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `The gradient of ${what} cannot be captured: ${gradientObstacle}.`,
    );
  }
}

function numbersOf(asked: Sites | undefined, inspection: Inspection, kind: string): readonly number[] {
  const count = inspection.attention.length;
  if (asked === undefined) return [];
  if (count === 0) {
    throw new SightlineError('METHOD_NOT_APPLICABLE', `There is no ${kind} to capture: the model has no attention.`);
  }
  if (asked === 'all') return inspection.attention.map((_, i) => i);
  const beyond = asked.find((site) => site >= count);
  if (beyond !== undefined) {
    throw new SightlineError(
      'UNKNOWN_NODE',
      `There is no attention ${beyond}: the model has ${count}, numbered from 0.`,
    );
  }
  return [...new Set(asked)];
}

/** The images' results, each tensor's batch put together. */
export function readCapture(results: readonly NativeResult[]): Capture {
  const tensor = (name: string, hasTargetAxis: boolean): Tensor =>
    joined(
      results.map((result) => result.outputs[name]!),
      hasTargetAxis,
    );
  const names = Object.keys(results[0]!.outputs);
  const read = (prefix: string, hasTargetAxis: boolean): CapturedTensors => {
    const tensors: Record<string, Record<string, Tensor>> = {
      features: {},
      attention: {},
      query: {},
      key: {},
      value: {},
    };
    for (const name of names) {
      if (!name.startsWith(prefix)) continue;
      const [kind, ...rest] = name.slice(prefix.length).split('/');
      const of = tensors[kind!];
      if (of && rest.length > 0) of[rest.join('/')] = tensor(name, hasTargetAxis);
    }
    return tensors as unknown as CapturedTensors;
  };
  const hasGradients = names.includes('logits');
  return {
    ...read('', false),
    input: names.includes('input') ? tensor('input', false) : null,
    logits: hasGradients ? tensor('logits', false) : null,
    gradients: hasGradients ? read('gradients/', true) : null,
    targets: results.flatMap(({ targets }) => [...targets]),
    operators: results[0]!.operators,
  };
}

/** Single images' tensors [...] to one [N, ...]. Gradients come with an axis of one target in front, which goes. */
function joined(parts: readonly Tensor[], hasTargetAxis: boolean): Tensor {
  const shape = parts[0]!.shape.slice(hasTargetAxis ? 1 : 0);
  if (parts.some((part) => part.shape.join() !== parts[0]!.shape.join())) {
    throw new SightlineError(
      'INVALID_INPUT',
      'capture puts all images into one tensor, so they must be of one size; capture images of different sizes in calls of their own.',
    );
  }
  if (parts.length === 1) return { data: parts[0]!.data, shape: [1, ...shape] };
  const size = parts[0]!.data.length;
  const data = new Float32Array(size * parts.length);
  parts.forEach((part, i) => data.set(part.data, i * size));
  return { data, shape: [parts.length, ...shape] };
}
