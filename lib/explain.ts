import { z } from 'zod';

import type { NativeResult, Tensor } from './binding.js';
import { SightlineError } from './errors.js';
import { HeatMap, type Prediction } from './heatmap.js';
import type { PreparedInput } from './inputs.js';
import type { Applicability, Inspection } from './inspection.js';
import { METHOD_NAMES, METHODS, type MethodName } from './methods/index.js';
import type { Method } from './methods/method.js';
import { suggestion } from './models/nearest.js';
import type { PlanDescription } from './symbolic/plan.js';
import { PlanRecorder } from './symbolic/recorder.js';
import { highest, lowest, mean, scaleToUnit, softmax, stack, SymbolicModel, top, upsample, type Value } from './symbolic/index.js';
import type { Target } from './targets.js';

/** How many predictions each explanation lists. */
const PREDICTIONS = 5;

/** Options that every method takes. */
export interface CommonOptions {
  /**
   * Classes to explain, one map each, all from one run of the model: indices, labels, `top1` (the default), `topK`. A
   * list of lists gives each image its own.
   */
  readonly targets?: readonly Target[] | readonly (readonly Target[])[] | undefined;
  /** `image` (default): maps of the model's input size, upsampled bilinearly. `grid`: as the method computes them. */
  readonly size?: 'grid' | 'image' | undefined;
  /** Leaves the map's own values; by default each map is brought to [0, 1]. */
  readonly raw?: boolean | undefined;
  /** Bytes that one chunk of a sampling method may take. Default 1 GiB. */
  readonly memory?: number | undefined;
  /** Aborting rejects with ABORTED at the engine's next step. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A layer, or several: their maps are upsampled to the input size whatever `size` says, brought to [0, 1] and averaged.
 * Default: `inspect().targetLayer`.
 */
export interface LayerOptions {
  readonly layer?: string | readonly string[] | undefined;
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
export type CustomOptions<Schema extends z.ZodType> = { readonly method: Method<Schema>; readonly options?: z.input<Schema> } & LayerOptions & CommonOptions;

export type ExplainOptions = NamedOptions<MethodName>;

/** What one image was explained to be, by one method. */
export interface Explanation<Name extends string = MethodName, Settings = MethodSettings<MethodName>, Layer extends string | null = string | null> {
  /** The image's file name, or `image-0`, `image-1`, ... */
  readonly image: string;
  readonly method: Name;
  /** The method's options as they took effect. */
  readonly options: Settings;
  /** The best classes by softmax probability, best first. */
  readonly predictions: readonly Prediction[];
  /** One per target, in the order asked for. */
  readonly maps: readonly HeatMap<Layer>[];
}

export type NamedExplanation<M extends MethodName> = M extends MethodName ? Explanation<M, MethodSettings<M>, LayerOf<M>> : never;

/** What is asked for, checked as far as can be without the model. */
export interface ExplainRequest {
  readonly method: Method;
  readonly settings: unknown;
  readonly layers: readonly string[] | null;
  readonly common: CommonOptions;
}

const target = z.union([z.number(), z.string()]);
const commonSchema = z.strictObject({
  targets: z.union([z.array(target), z.array(z.array(target))], { error: "a list of class indices, labels or topK is expected, such as ['top1']" }).optional(),
  size: z.enum(['grid', 'image']).optional(),
  raw: z.boolean().optional(),
  memory: z.int().min(1).optional(),
  signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional(),
});
const layerSchema = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional();

/**
 * Sorts options into the method's own and those of every method, and checks both.
 *
 * @throws SightlineError INVALID_OPTION in one sentence that names the option.
 */
export function parseExplainOptions(options: object): ExplainRequest {
  if (typeof options !== 'object' || options === null) throw new SightlineError('INVALID_OPTION', "explain needs options, at least { method: 'grad-cam' } or another method.");
  const { method: asked, ...rest } = options as { method?: unknown } & Record<string, unknown>;
  const method = findMethod(asked);
  const common: Record<string, unknown> = {};
  let own: Record<string, unknown> = {};
  let layer: unknown;
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined) continue;
    if (Object.hasOwn(commonSchema.shape, name)) common[name] = value;
    else if (name === 'layer' && method.usesLayer) layer = value;
    else if (name === 'options' && typeof asked === 'object') own = value as Record<string, unknown>;
    else own[name] = value;
  }
  const layers = check(layerSchema, layer, method.name, 'layer');
  return {
    method,
    settings: check(method.options, own, method.name),
    layers: layers === undefined ? null : typeof layers === 'string' ? [layers] : layers,
    common: check(commonSchema, common, method.name) as CommonOptions,
  };
}

/** @throws SightlineError INVALID_OPTION with the nearest names. */
export function findMethod(asked: unknown): Method {
  if (typeof asked === 'object' && asked !== null && 'map' in asked) return asked as Method;
  if (typeof asked === 'string' && Object.hasOwn(METHODS, asked)) return METHODS[asked as MethodName] as unknown as Method;
  const hint = typeof asked === 'string' ? suggestion(asked, METHOD_NAMES) : '';
  throw new SightlineError('INVALID_OPTION', `There is no method ${JSON.stringify(asked)}. ${hint || `Known: ${METHOD_NAMES.join(', ')}.`}`);
}

function check<Schema extends z.ZodType>(schema: Schema, value: unknown, method: string, root = ''): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const known = 'shape' in schema ? Object.keys((schema as unknown as z.ZodObject).shape) : [];
    const has = known.length === 0 ? 'it has none of its own' : `its own are ${known.join(', ')}`;
    throw new SightlineError('INVALID_OPTION', `${method} has no option "${issue.keys[0]}"; ${has}.`);
  }
  const name = [root, ...issue.path].filter((part) => part !== '').join('.');
  throw new SightlineError('INVALID_OPTION', `The option ${name} of ${method} is wrong: ${issue.message}.`);
}

/** Whether each method can explain the model. */
export function applicability(inspection: Inspection): Applicability[] {
  return METHOD_NAMES.map((name) => {
    const reason = METHODS[name].reasonAgainst(inspection);
    return { name, applies: reason === null, reason };
  });
}

/** The layers that a request explains: those asked for, or the automatic one. Null for methods without layers. */
export function chooseLayers(request: ExplainRequest, inspection: Inspection, cardLayer: string | undefined): readonly string[] | null {
  if (!request.method.usesLayer) return null;
  if (request.layers !== null) return request.layers;
  if (request.method.name === 'cam' && inspection.head) return [inspection.head.feature];
  return [cardLayer ?? inspection.targetLayer];
}

/**
 * Records a method for one model and input size.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE, UNKNOWN_NODE, INVALID_OPTION
 */
export function recordExplanation(request: ExplainRequest, inspection: Inspection, layers: readonly string[] | null, modelName: string): PlanDescription {
  const { method, settings, common } = request;
  const reason = method.reasonAgainst(inspection);
  if (reason !== null) throw new SightlineError('METHOD_NOT_APPLICABLE', `${method.name} cannot explain ${modelName}: ${reason}.`, { details: { method: method.name } });

  const plan = new PlanRecorder(method.name);
  const model = new SymbolicModel(plan, inspection);
  const sized = (map: Value): Value => (common.size === 'grid' ? map : upsample(map, inspection.height, inspection.width));
  const maps = (layers ?? ['']).map((layer) => {
    const map = method.map({ model, options: settings as never, layer });
    if (map.axes.join() !== 'batch,height,width') {
      throw new SightlineError('INVALID_OPTION', `${method.name} must return a map [batch, height, width], not [${map.axes.join(', ')}].`);
    }
    return map;
  });
  // Maps of several layers differ in scale and size: each is brought to [0, 1] before they are averaged.
  const fuse = (several: Value[]): Value => mean(stack(several.map((map) => scaleToUnit(upsample(map, inspection.height, inspection.width))), 'layers'), 'layers');
  const map = maps.length === 1 ? sized(maps[0]!) : fuse(maps);
  const { logits } = model.output;
  const probabilities = softmax(logits, 'classes');
  const best = top(probabilities, PREDICTIONS);
  plan.rankBy(logits);
  plan.output('map', common.raw ? map : scaleToUnit(map));
  plan.output('low', lowest(map));
  plan.output('high', highest(map));
  plan.output('bestScores', best.values);
  plan.output('bestClasses', best.indices);
  plan.output('targetScore', model.scoreIn(probabilities));
  return plan.finish(common.memory ?? 2 ** 30);
}

/** One image's results as an explanation. */
export function readExplanation(
  request: ExplainRequest,
  layers: readonly string[] | null,
  result: NativeResult,
  input: PreparedInput,
  labels: readonly string[],
): Explanation<string, unknown> {
  const output = (name: string): Tensor => result.outputs[name]!;
  const prediction = (index: number, score: number): Prediction => ({ index, label: labels[index]!, score });
  const map = output('map');
  const [height, width] = map.shape.slice(-2) as [number, number];
  const area = height * width;
  // A method that does not depend on the class gives one map for all targets.
  const perTarget = map.shape.length === 3;
  const maps = result.targets.map((target, t) => {
    const at = perTarget ? t : 0;
    const low = output('low').data[at]!;
    const high = output('high').data[at]!;
    const state = !Number.isFinite(low) || !Number.isFinite(high) ? 'nan' : high - low <= 1e-6 * Math.max(Math.abs(low), Math.abs(high)) ? 'flat' : 'ok';
    return new HeatMap(
      map.data.subarray(at * area, (at + 1) * area),
      [height, width],
      prediction(target, output('targetScore').data[t]!),
      layers === null ? null : layers.join(', '),
      low,
      high,
      state,
      input,
    );
  });
  return {
    image: input.name,
    method: request.method.name,
    options: request.settings,
    predictions: Array.from(output('bestClasses').data, (index, i) => prediction(index, output('bestScores').data[i]!)),
    maps,
  };
}
