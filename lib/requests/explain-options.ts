import { z } from 'zod';

import { METHOD_NAMES, METHODS, type MethodName } from '../methods/index.js';
import type { Method } from '../methods/method.js';
import { cut, shown } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import { suggestion } from '../support/nearest.js';
import { reading, readOptions } from '../support/options.js';
import type { Run, Value } from '../symbolic/index.js';
import { FUSIONS, type CommonOptions, type ExplainRequest } from './explain.js';
import { topOption } from './predict.js';
import { denseTargetSchema } from './dense/targets.js';
import { clientOption, outputOption } from './question.js';
import { checkTargetCount } from './targets.js';

const className = z.union([z.number(), z.string()]);
const classTarget = z.union([className, z.strictObject({ of: className, against: className })]);
/** What is asked about classes of the whole image alone. */
export const classTargetsSchema = z
  .union([z.array(classTarget), z.array(z.array(classTarget))], {
    error: "a list of class indices, labels, topK or { of, against } is expected, such as ['top1']",
  })
  .optional();
const target = z.union([classTarget, denseTargetSchema]);
/** Options of every method. */
export const commonSchema = z.strictObject({
  targets: z
    .union([z.array(target), z.array(z.array(target))], {
      error:
        "a list of class indices, labels, topK, { of, against }, { mask, point or region } or { box, class } is expected, such as ['top1']",
    })
    .optional(),
  score: z
    .union([z.enum(['logit', 'probability']), z.custom<(run: Run) => Value>((value) => typeof value === 'function')], {
      error: "'logit', 'probability' or a function from a run to a value per image is expected",
    })
    .optional(),
  output: outputOption.optional(),
  size: z.enum(['grid', 'image']).optional(),
  raw: z.boolean().optional(),
  memory: z.int().min(1).optional(),
  top: topOption.optional(),
  maxPixels: z.int().min(1).optional(),
  client: clientOption,
  signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional(),
});
/** Each is a map of its own before they are fused. */
const MOST_LAYERS = 1000;
/** Each records a plan of its own, on the JavaScript thread. */
const MOST_METHODS = 100;

/** Options of methods that explain layers. */
export const layerSchema = z.strictObject({
  layer: z.union([z.string().min(1), z.array(z.string().min(1)).min(1).max(MOST_LAYERS)]).optional(),
  fusion: z.enum(FUSIONS).default('mean'),
  augmentationSmoothing: z.boolean().default(false),
});

/**
 * Sorts options into the method's own and those of every method, and checks both.
 *
 * @throws SightlineError INVALID_OPTION in one sentence that names the option.
 */
export function parseExplainOptions(options: object): ExplainRequest {
  if (typeof options !== 'object' || options === null) {
    throw new SightlineError(
      'INVALID_OPTION',
      "explain needs options, at least { method: 'grad-cam' } or another method.",
    );
  }
  const { method: asked, ...rest } = readOptions(options, 'explain') as { method?: unknown } & Record<string, unknown>;
  const method = findMethod(asked);
  const common: Record<string, unknown> = {};
  const layering: Record<string, unknown> = {};
  let own: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined) continue;
    if (Object.hasOwn(commonSchema.shape, name)) common[name] = value;
    else if (method.usesLayer && Object.hasOwn(layerSchema.shape, name)) layering[name] = value;
    else if (name === 'options' && typeof asked === 'object') own = value as Record<string, unknown>;
    else own[name] = value;
  }
  const { targets } = common;
  if (Array.isArray(targets)) {
    // Before each of a million is looked at.
    if (!Array.isArray(targets[0])) checkTargetCount(targets.length);
    for (const list of targets) if (Array.isArray(list)) checkTargetCount(list.length);
  }
  const { layer, ...fused } = check(layerSchema, layering, method.name);
  const request = {
    method,
    settings: check(method.options, own, method.name),
    layers: layer === undefined ? null : typeof layer === 'string' ? [layer] : layer,
    layering: fused,
    common: check(commonSchema, common, method.name) as CommonOptions,
  };
  if (!method.isClassSpecific && request.common.score !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${method.name} explains no score, so \`score\` would do nothing; leave it out, or choose a class-specific method.`,
    );
  }
  if (layering['fusion'] !== undefined && (request.layers?.length ?? 1) < 2) {
    throw new SightlineError(
      'INVALID_OPTION',
      '`fusion` says how several layers become one map; name at least two in `layer`, or leave it out.',
    );
  }
  return request;
}

type Shared = Pick<CommonOptions, 'targets' | 'output' | 'signal' | 'client' | 'maxPixels'>;

/**
 * What methods that are asked together have in common.
 *
 * @throws SightlineError INVALID_OPTION where there are none, or where their targets, signals or clients differ.
 */
export function shared(requests: readonly ExplainRequest[]): Shared {
  const [first, ...others] = requests;
  if (first === undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      "explain was given an empty list of methods; name at least one, such as [{ method: 'grad-cam' }].",
    );
  }
  if (requests.length > MOST_METHODS) {
    throw new SightlineError(
      'INVALID_OPTION',
      `explain was given ${requests.length} methods, and one call takes at most ${MOST_METHODS}; make several calls.`,
    );
  }
  const { targets, output, signal, client } = first.common;
  for (const { method, common } of others) {
    if (common.targets !== targets && JSON.stringify(common.targets) !== JSON.stringify(targets)) {
      throw new SightlineError(
        'INVALID_OPTION',
        `${first.method.name} and ${method.name} are asked for different targets; methods of one call share them. Give both the same, or make two calls.`,
      );
    }
    if (common.output?.toString() !== output?.toString()) {
      throw new SightlineError(
        'INVALID_OPTION',
        `${first.method.name} and ${method.name} are asked for different outputs of the model; give both the same, or make two calls.`,
      );
    }
    if (common.signal !== signal) {
      throw new SightlineError(
        'INVALID_OPTION',
        `${first.method.name} and ${method.name} have different signals; give both the same, or make two calls.`,
      );
    }
    if (common.client !== client) {
      throw new SightlineError(
        'INVALID_OPTION',
        `${first.method.name} and ${method.name} have different clients; give both the same, or make two calls.`,
      );
    }
  }
  const limits = requests.flatMap(({ common }) => common.maxPixels ?? []);
  return { targets, output, signal, client, maxPixels: limits.length === 0 ? undefined : Math.min(...limits) };
}

/** Whether options say which method is meant; what is no options at all is for `parseExplainOptions` to refuse. */
export function namesMethod(options: unknown): boolean {
  return (
    typeof options !== 'object' ||
    options === null ||
    Array.isArray(options) ||
    reading('The option method of explain', () => (options as { method?: unknown }).method) !== undefined
  );
}

/** @throws SightlineError INVALID_OPTION with the nearest names. */
export function findMethod(asked: unknown): Method {
  if (typeof asked === 'object' && asked !== null && 'map' in asked) return checkedMethod(asked);
  if (typeof asked === 'string' && Object.hasOwn(METHODS, asked)) {
    return METHODS[asked as MethodName];
  }
  const hint = typeof asked === 'string' ? suggestion(asked, METHOD_NAMES) : '';
  throw new SightlineError(
    'INVALID_OPTION',
    `There is no method ${shown(asked)}. ${hint || `Known: ${METHOD_NAMES.join(', ')}.`}`,
  );
}

/**
 * @throws SightlineError INVALID_OPTION for an object that `defineMethod` did not check, as of a program in JavaScript.
 */
function checkedMethod(given: object): Method {
  const { name, options, map, reasonAgainst } = given as Partial<Method>;
  const missing =
    typeof name !== 'string'
      ? 'name'
      : typeof map !== 'function'
        ? 'map'
        : typeof reasonAgainst !== 'function'
          ? 'reasonAgainst'
          : typeof options?.safeParse !== 'function'
            ? 'options'
            : null;
  if (missing !== null) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The method given to explain has no usable \`${missing}\`; make it with defineMethod.`,
    );
  }
  return given as Method;
}

function check<Schema extends z.ZodType>(schema: Schema, value: unknown, method: string): z.output<Schema> {
  const parsed = reading(`The options of ${method}`, () => schema.safeParse(value));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const known = 'shape' in schema ? Object.keys((schema as unknown as z.ZodObject).shape) : [];
    const has = known.length === 0 ? 'it has none of its own' : `its own are ${known.join(', ')}`;
    throw new SightlineError('INVALID_OPTION', `${method} has no option "${cut(issue.keys[0]!)}"; ${has}.`);
  }
  const name = issue.path.join('.');
  throw new SightlineError('INVALID_OPTION', `The option ${name} of ${method} is wrong: ${cut(issue.message)}.`);
}
