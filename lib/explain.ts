import { z } from 'zod';

import type { NativeResult, Tensor } from './binding.js';
import { cut, shown } from './cut.js';
import { SightlineError } from './errors.js';
import { HeatMap, type ExplainedTarget, type Prediction } from './heatmap.js';
import type { PreparedInput } from './inputs.js';
import type { Applicability, Inspection } from './inspection.js';
import { METHOD_NAMES, METHODS, type MethodName } from './methods/index.js';
import type { MapResult, Method } from './methods/method.js';
import type { ModelCard } from './models/card.js';
import { suggestion } from './models/nearest.js';
import { readOptions } from './options.js';
import type { PlanDescription } from './symbolic/plan.js';
import { PlanRecorder } from './symbolic/recorder.js';
import { equal, flip, max, mean, min, scaleToUnit, stack, SymbolicModel, top, upsample, Value, type Run, type ScoreOf } from './symbolic/index.js';
import { checkTargetCount, type Target } from './targets.js';

/** How many predictions each explanation lists. */
const PREDICTIONS = 5;

/** Options that every method takes. */
export interface CommonOptions {
  /**
   * Classes to explain, one map each, all from one run of the model: indices, labels, `top1` (the default), `topK`. A
   * list of lists gives each image its own.
   */
  readonly targets?: readonly Target[] | readonly (readonly Target[])[] | undefined;
  /**
   * What is explained of the class: its `logit` (default), its `probability`, or any value per image computed
   * from what the model gives: `({ output }) => symbolic.sum(symbolic.select(output, 'classes', 3), ['height', 'width'])`.
   */
  readonly score?: Score | undefined;
  /** `image` (default): maps of the model's input size, upsampled bilinearly. `grid`: as the method computes them. */
  readonly size?: 'grid' | 'image' | undefined;
  /** Leaves the map's own values; by default each map is brought to [0, 1]. */
  readonly raw?: boolean | undefined;
  /** Bytes that one chunk of a sampling method may take. Default 1 GiB. */
  readonly memory?: number | undefined;
  /** Most pixels of an image; larger ones are refused before they are decoded. Default: that of `Model.load`. */
  readonly maxPixels?: number | undefined;
  /** Aborting rejects with ABORTED: at once while the images wait, else within the step that the engine is at. */
  readonly signal?: AbortSignal | undefined;
}

/** What of a run is explained. A function returns a value [batch]. */
export type Score = 'logit' | 'probability' | ((run: Run) => Value);

/** How the maps of several layers become one. */
export const FUSIONS = ['mean', 'max', 'product'] as const;
export type Fusion = (typeof FUSIONS)[number];

export interface LayerOptions {
  /**
   * A layer, or several: their maps are upsampled to the input size whatever `size` says, brought to [0, 1] and fused.
   * Default: `inspect().targetLayer`.
   */
  readonly layer?: string | readonly string[] | undefined;
  /** How several layers' maps are fused. Default `mean`. */
  readonly fusion?: Fusion | undefined;
  /**
   * Averages the maps of the image and its mirror image, each times 0.9, 1 and 1.1, mirrored back: six runs. Maps are of
   * the input size whatever `size` says. Default false.
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
export type CustomOptions<Schema extends z.ZodType> = { readonly method: Method<Schema>; readonly options?: z.input<Schema> } & LayerOptions & CommonOptions;

/** Options where the method is left to the model. */
export type UnnamedOptions = { readonly method?: undefined } & CommonOptions;

export type ExplainOptions = NamedOptions<MethodName>;

/** What one image was explained to be, by one method. */
export interface Explanation<Name extends string = MethodName, Settings = MethodSettings<MethodName>, Layer extends string | null = string | null> {
  /** The image's file name, or `image-0`, `image-1`, ... */
  readonly image: string;
  readonly method: Name;
  /** The method's options as they took effect. */
  readonly options: Settings;
  /** The best classes by probability, best first. */
  readonly predictions: readonly Prediction[];
  /** One per target, in the order asked for; of `deep-feature-factorization` one per concept. */
  readonly maps: readonly HeatMap<Layer>[];
  /** Samples in one run of the model, as `memory` allowed; null for methods that take no samples. */
  readonly chunk: number | null;
}

export type NamedExplanation<M extends MethodName> = M extends MethodName ? Explanation<M, MethodSettings<M>, LayerOf<M>> : never;

/** What is asked for, checked as far as can be without the model. */
export interface ExplainRequest {
  readonly method: Method;
  readonly settings: unknown;
  readonly layers: readonly string[] | null;
  readonly layering: Required<Pick<LayerOptions, 'fusion' | 'augmentationSmoothing'>>;
  readonly common: CommonOptions;
}

const className = z.union([z.number(), z.string()]);
const target = z.union([className, z.strictObject({ of: className, against: className })]);
const commonSchema = z.strictObject({
  targets: z
    .union([z.array(target), z.array(z.array(target))], { error: "a list of class indices, labels, topK or { of, against } is expected, such as ['top1']" })
    .optional(),
  score: z
    .union([z.enum(['logit', 'probability']), z.custom<(run: Run) => Value>((value) => typeof value === 'function')], {
      error: "'logit', 'probability' or a function from a run to a value per image is expected",
    })
    .optional(),
  size: z.enum(['grid', 'image']).optional(),
  raw: z.boolean().optional(),
  memory: z.int().min(1).optional(),
  maxPixels: z.int().min(1).optional(),
  signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional(),
});
/** Each is a map of its own before they are fused. */
const MOST_LAYERS = 1000;
/** Each records a plan of its own, on the JavaScript thread. */
const MOST_METHODS = 100;

const layerSchema = z.strictObject({
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
  if (typeof options !== 'object' || options === null) throw new SightlineError('INVALID_OPTION', "explain needs options, at least { method: 'grad-cam' } or another method.");
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
  // Before each of a million is looked at.
  if (Array.isArray(common['targets'])) for (const list of [common['targets'], ...(common['targets'] as unknown[])]) if (Array.isArray(list) && !Array.isArray(list[0])) checkTargetCount(list.length);
  const { layer, ...fused } = check(layerSchema, layering, method.name);
  const request = {
    method,
    settings: check(method.options, own, method.name),
    layers: layer === undefined ? null : typeof layer === 'string' ? [layer] : layer,
    layering: fused,
    common: check(commonSchema, common, method.name) as CommonOptions,
  };
  if (!method.isClassSpecific && request.common.score !== undefined) {
    throw new SightlineError('INVALID_OPTION', `${method.name} explains no score, so \`score\` would do nothing; leave it out, or choose a class-specific method.`);
  }
  if (layering['fusion'] !== undefined && (request.layers?.length ?? 1) < 2) {
    throw new SightlineError('INVALID_OPTION', '`fusion` says how several layers become one map; name at least two in `layer`, or leave it out.');
  }
  return request;
}

/**
 * What methods that are asked together have in common.
 *
 * @throws SightlineError INVALID_OPTION where there are none, or where they ask for different targets or signals.
 */
export function shared(requests: readonly ExplainRequest[]): Pick<CommonOptions, 'targets' | 'signal' | 'maxPixels'> {
  const [first, ...others] = requests;
  if (first === undefined) throw new SightlineError('INVALID_OPTION', "explain was given an empty list of methods; name at least one, such as [{ method: 'grad-cam' }].");
  if (requests.length > MOST_METHODS) throw new SightlineError('INVALID_OPTION', `explain was given ${requests.length} methods, and one call takes at most ${MOST_METHODS}; make several calls.`);
  const { targets, signal } = first.common;
  for (const { method, common } of others) {
    if (JSON.stringify(common.targets) !== JSON.stringify(targets)) {
      throw new SightlineError('INVALID_OPTION', `${first.method.name} and ${method.name} are asked for different targets; methods of one call share them. Give both the same, or make two calls.`);
    }
    if (common.signal !== signal) throw new SightlineError('INVALID_OPTION', `${first.method.name} and ${method.name} have different signals; give both the same, or make two calls.`);
  }
  const limits = requests.flatMap(({ common }) => common.maxPixels ?? []);
  return { targets, signal, maxPixels: limits.length === 0 ? undefined : Math.min(...limits) };
}

/** Whether options say which method is meant; what is no options at all is for `parseExplainOptions` to refuse. */
export function namesMethod(options: unknown): boolean {
  return typeof options !== 'object' || options === null || Array.isArray(options) || (options as { method?: unknown }).method !== undefined;
}

/** @throws SightlineError INVALID_OPTION with the nearest names. */
export function findMethod(asked: unknown): Method {
  if (typeof asked === 'object' && asked !== null && 'map' in asked) return checkedMethod(asked);
  if (typeof asked === 'string' && Object.hasOwn(METHODS, asked)) return METHODS[asked as MethodName] as unknown as Method;
  const hint = typeof asked === 'string' ? suggestion(asked, METHOD_NAMES) : '';
  throw new SightlineError('INVALID_OPTION', `There is no method ${shown(asked)}. ${hint || `Known: ${METHOD_NAMES.join(', ')}.`}`);
}

/** @throws SightlineError INVALID_OPTION for an object that `defineMethod` did not check, as of a program in JavaScript. */
function checkedMethod(given: object): Method {
  const { name, options, map, reasonAgainst } = given as Partial<Method>;
  const missing =
    typeof name !== 'string' ? 'name' : typeof map !== 'function' ? 'map' : typeof reasonAgainst !== 'function' ? 'reasonAgainst' : typeof options?.safeParse !== 'function' ? 'options' : null;
  if (missing !== null) throw new SightlineError('INVALID_OPTION', `The method given to explain has no usable \`${missing}\`; make it with defineMethod.`);
  return given as Method;
}

function check<Schema extends z.ZodType>(schema: Schema, value: unknown, method: string): z.output<Schema> {
  const parsed = schema.safeParse(value);
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

/** Whether each method can explain the model. */
export function applicability(inspection: Inspection): Applicability[] {
  return METHOD_NAMES.map((name) => {
    const reason = METHODS[name].reasonAgainst(inspection);
    return { name, applies: reason === null, reason };
  });
}

/** The layers that a request explains: those asked for, or the automatic one. Null for methods without layers. */
function chooseLayers(request: ExplainRequest, inspection: Inspection, cardLayer: string | undefined): readonly string[] | null {
  if (!request.method.usesLayer) return null;
  if (request.layers !== null) return request.layers;
  if (request.method.name === 'cam' && inspection.head) return [inspection.head.feature];
  return [cardLayer ?? inspection.targetLayer];
}

/** Names of one method's outputs in a plan of several. */
const prefixOf = (at: number): string => `${at}/`;

/**
 * Records methods for one model and input size. What they have in common, above all the run on the images, is computed once.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE, UNKNOWN_NODE, INVALID_OPTION
 */
export function recordExplanations(requests: readonly ExplainRequest[], inspection: Inspection, card: ModelCard): PlanDescription {
  const plan = new PlanRecorder(requests[0]!.method.name);
  const model = new SymbolicModel(plan, inspection, undefined, undefined, card.input);
  requests.forEach((request, at) => {
    plan.method = request.method.name;
    recordOne(request, model, chooseLayers(request, inspection, card.targetLayer), card.name, prefixOf(at));
  });
  plan.method = requests.map(({ method }) => method.name).join(' + ');
  return plan.finish(Math.min(...requests.map(({ common }) => common.memory ?? 2 ** 30)), inspection);
}

function recordOne(request: ExplainRequest, images: SymbolicModel, layers: readonly string[] | null, modelName: string, prefix: string): void {
  const { method, common } = request;
  const { inspection, plan } = images;
  const reason = method.reasonAgainst(inspection);
  if (reason !== null) throw new SightlineError('METHOD_NOT_APPLICABLE', `${method.name} cannot explain ${modelName}: ${reason}.`, { details: { method: method.name } });

  if (inspection.classes === 0 && method.isClassSpecific && typeof common.score !== 'function') {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `${modelName} returns ${inspection.outputShape.join(' x ')} rather than class scores; say what to explain of it by \`score\`, a function of its \`output\`.`,
    );
  }

  if (inspection.scores === 'value' && common.score === 'probability') {
    throw new SightlineError('INVALID_OPTION', `${modelName} returns a value, which is no probability; leave \`score\` out.`);
  }

  const output = (name: string, value: Value): void => plan.output(`${prefix}${name}`, value);
  const model = images.explaining(scoreOf(common.score, method.name));
  const { map, figures, concepts } = mapOf(request, model, layers);
  const places = ['height', 'width'];
  const low = min(map, places);
  const high = max(map, places);
  output('map', common.raw ? map : concepts ? unitOfEach(map, low, high) : scaleToUnit(map));
  output('low', low);
  output('high', high);
  for (const [name, figure] of Object.entries(figures)) output(`figure:${name}`, figure);
  if (inspection.classes > 0) {
    const { logits, probabilities } = model.scoring;
    const best = top(probabilities, PREDICTIONS);
    plan.rankBy(logits);
    output('bestScores', best.values);
    output('bestClasses', best.indices);
    output('targetScores', model.probabilitiesAsked(probabilities));
    if (concepts) {
      const likeliest = top(model.probabilitiesOf(concepts), 1);
      output('conceptScores', likeliest.values);
      output('conceptClasses', likeliest.indices);
    }
  }
  if (typeof common.score === 'function') output('score', model.output.score);
}

/**
 * Runs what a user wrote; the built-in methods go the same way.
 *
 * @throws SightlineError INVALID_OPTION for what is no SightlineError
 */
function ownCode<T>(subject: string, code: () => T): T {
  try {
    return code();
  } catch (cause) {
    if (cause instanceof SightlineError) throw cause;
    throw new SightlineError('INVALID_OPTION', `${subject} failed: ${cut(cause instanceof Error ? cause.message : String(cause))}.`, { cause });
  }
}

/** What is explained of a run, checked when it is recorded. */
function scoreOf(score: Score | undefined, method: string): ScoreOf {
  if (score === undefined || score === 'logit') return { of: (run) => run.model.scoreIn(run.logits), isLogit: true };
  if (score === 'probability') return { of: (run) => run.model.scoreIn(run.probabilities), isLogit: false };
  let isComputing = false;
  const of = (run: Run): Value => {
    // `run.score` is what this very function gives.
    if (isComputing) throw new SightlineError('INVALID_OPTION', 'The `score` function reads `score`, which is what it is to give; start from `logits` or `output`.');
    isComputing = true;
    let value: unknown;
    try {
      value = ownCode(`The \`score\` function given to ${method}`, () => score(run));
    } finally {
      isComputing = false;
    }
    if (!(value instanceof Value) || value.axes.join() !== 'batch') {
      const got = value instanceof Value ? `[${value.axes.join(', ')}]` : typeof value;
      throw new SightlineError('INVALID_OPTION', `The score that ${method} explains must be one value per image, [batch], but the function returned ${got}; sum or select over the other axes.`);
    }
    return value;
  };
  return { of, isLogit: false };
}

/** Each of several maps of an image to [0, 1] by its own range; a flat one to zeros. */
function unitOfEach(map: Value, low: Value, high: Value): Value {
  return map.sub(low).div(high.sub(low).add(equal(high, low)));
}

/** The method's map: of one layer, of several fused, or smoothed over augmentations. */
function mapOf({ method, settings, layering, common }: ExplainRequest, model: SymbolicModel, layers: readonly string[] | null): Required<Omit<MapResult, 'concepts'>> & Pick<MapResult, 'concepts'> {
  const { height, width } = model.inspection;
  const compute = (seen: SymbolicModel, layer: string): MapResult => {
    const returned = ownCode(`The map function of ${method.name}`, () => method.map({ model: seen, options: settings as never, layer }));
    const result = returned instanceof Value ? { map: returned } : returned;
    if (!(result?.map instanceof Value)) throw new SightlineError('INVALID_OPTION', `${method.name} must return a map, or { map }, and not ${shown(result)}.`);
    const wanted = result.concepts ? 'batch,concepts,height,width' : 'batch,height,width';
    if (result.map.axes.join() !== wanted) {
      throw new SightlineError('INVALID_OPTION', `${method.name} must return a map [${wanted.split(',').join(', ')}], not [${result.map.axes.join(', ')}].`);
    }
    return result;
  };
  // Maps of several layers differ in scale and size: each is brought to [0, 1] before they are fused.
  const unit = (map: Value): Value => scaleToUnit(upsample(map, height, width));
  const fused = (seen: SymbolicModel, several: readonly string[]): Value => {
    const units = several.map((layer) => unit(compute(seen, layer).map));
    if (layering.fusion === 'product') return units.reduce((product, map) => product.mul(map));
    return (layering.fusion === 'max' ? max : mean)(stack(units, 'layers'), 'layers');
  };
  const names = layers ?? [''];

  if (layering.augmentationSmoothing) {
    const maps = [false, true].flatMap((isMirrored) =>
      [0.9, 1, 1.1].map((brightness) => {
        const seen = model.lookingAt((isMirrored ? flip(model.image, 'width') : model.image).mul(brightness));
        const map = names.length === 1 ? unit(compute(seen, names[0]!).map) : scaleToUnit(fused(seen, names));
        return isMirrored ? flip(map, 'width') : map;
      }),
    );
    return { map: mean(stack(maps, 'augmentations'), 'augmentations'), figures: {} };
  }
  if (names.length > 1) return { map: fused(model, names), figures: {} };
  const { map, figures = {}, concepts } = compute(model, names[0]!);
  return { map: common.size === 'grid' ? map : upsample(map, height, width), figures, ...(concepts && { concepts }) };
}

/** One image's results as explanations, one for each request. */
export function readExplanations(requests: readonly ExplainRequest[], result: NativeResult, input: PreparedInput, inspection: Inspection, card: ModelCard, labels: readonly string[]): Explanation<string, unknown>[] {
  return requests.map((request, at) => {
    const prefix = prefixOf(at);
    const own = Object.entries(result.outputs).filter(([name]) => name.startsWith(prefix));
    const outputs = Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
    return readOne(request, chooseLayers(request, inspection, card.targetLayer), { ...result, outputs }, input, labels);
  });
}

function readOne(request: ExplainRequest, layers: readonly string[] | null, result: NativeResult, input: PreparedInput, labels: readonly string[]): Explanation<string, unknown> {
  const { outputs } = result;
  const output = (name: string): Tensor => outputs[name]!;
  const prediction = (index: number, score: number): Prediction => ({ index, label: labels[index]!, score });
  const map = output('map');
  const [height, width] = map.shape.slice(-2) as [number, number];
  const area = height * width;
  const figureNames = Object.keys(outputs).filter((name) => name.startsWith('figure:'));

  const mapAt = (at: number, target: ExplainedTarget): HeatMap => {
    const low = output('low').data[at]!;
    const high = output('high').data[at]!;
    const state = !Number.isFinite(low) || !Number.isFinite(high) ? 'nan' : high - low <= 1e-6 * Math.max(Math.abs(low), Math.abs(high)) ? 'flat' : 'ok';
    const figures = figureNames.map((name) => {
      const { data } = output(name);
      return [name.slice('figure:'.length), data[data.length > 1 ? at : 0]!] as const;
    });
    const data = map.data.subarray(at * area, (at + 1) * area);
    return new HeatMap(data, [height, width], target, layers === null ? null : layers.join(', '), low, high, state, input, Object.fromEntries(figures));
  };

  let maps: HeatMap[];
  if (outputs['conceptClasses']) {
    const { data } = output('conceptClasses');
    maps = Array.from(data, (index, concept) => mapAt(concept, prediction(index, output('conceptScores').data[concept]!)));
  } else if (result.targets.length === 0 || (outputs['score'] && map.shape.length === 2)) {
    // A score of the user's own that reads no class gives one map, whatever the targets.
    maps = [mapAt(0, { index: -1, label: 'score', score: outputs['score']?.data[0] ?? NaN })];
  } else {
    // A method that does not depend on the class gives one map for all targets.
    const perTarget = map.shape.length === 3;
    const asked = output('targetScores').data;
    maps = result.targets.map((of, t) => {
      const against = result.against[t]!;
      const target = { ...prediction(of, asked[2 * t]!), ...(against >= 0 && { against: prediction(against, asked[2 * t + 1]!) }) };
      return mapAt(perTarget ? t : 0, target);
    });
  }
  return {
    image: input.name,
    method: request.method.name,
    options: request.settings,
    predictions: outputs['bestClasses'] ? Array.from(output('bestClasses').data, (index, i) => prediction(index, output('bestScores').data[i]!)) : [],
    maps,
    chunk: result.chunk > 0 ? result.chunk : null,
  };
}
