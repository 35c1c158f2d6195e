import type { Inspection } from '../engine/inspection.js';
import type { PlanDescription } from '../engine/plan-description.js';
import type { MapResult } from '../methods/method.js';
import { normalizationOf, type ModelCard } from '../models/card.js';
import { cut, shown } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import {
  equal,
  flip,
  max,
  mean,
  min,
  scaleToUnit,
  stack,
  SymbolicModel,
  top,
  upsample,
  Value,
  type Run,
  type ScoreOf,
} from '../symbolic/index.js';
import { PlanRecorder } from '../symbolic/recorder.js';
import type { ExplainRequest, Score } from './explain.js';
import type { DenseScore } from './dense/score.js';
import { DEFAULT_TOP } from './predict.js';

/** A request with the layers that it explains of one model; null for a method without layers. */
export type LayeredRequest = Omit<ExplainRequest, 'layers'> & { readonly layers: readonly string[] | null };

/** Those asked for, or the automatic one. `cardLayer`: that of the model's card. */
export function withLayers(
  request: ExplainRequest,
  inspection: Inspection,
  cardLayer: string | undefined,
): LayeredRequest {
  return { ...request, layers: chooseLayers(request, inspection, cardLayer) };
}

function chooseLayers(
  request: ExplainRequest,
  inspection: Inspection,
  cardLayer: string | undefined,
): readonly string[] | null {
  if (!request.method.usesLayer) return null;
  if (request.layers !== null) return request.layers;
  if (request.method.name === 'cam' && inspection.head) return [inspection.head.feature];
  return [cardLayer ?? inspection.targetLayer];
}

/** Why a request cannot be answered: of the layers that it names, if any, rather than of the automatic one. */
function reasonAgainst({ method, layers }: LayeredRequest, inspection: Inspection): string | null {
  if (layers === null) return method.reasonAgainst(inspection);
  return (
    layers
      .map((layer) => method.reasonAgainst({ ...inspection, targetLayer: layer }))
      .find((reason) => reason !== null) ?? null
  );
}

/** Names of one method's outputs in a plan of several. */
export const prefixOf = (at: number): string => `${at}/`;

/**
 * Records methods for one model and input size. What they have in common, above all the run on the images, is computed
 * once.
 *
 * @param scored records the score of targets that are masks or boxes
 * @throws SightlineError METHOD_NOT_APPLICABLE, UNKNOWN_NODE, INVALID_OPTION
 */
export function recordExplanations(
  requests: readonly LayeredRequest[],
  inspection: Inspection,
  card: ModelCard,
  scored?: (model: SymbolicModel) => DenseScore,
): PlanDescription {
  const plan = new PlanRecorder(requests[0]!.method.name);
  const model = new SymbolicModel(plan, inspection, undefined, undefined, normalizationOf(card.input));
  const dense = scored?.(model);
  requests.forEach((request, at) => {
    plan.method = request.method.name;
    const prefix = prefixOf(at);
    if (dense === undefined) {
      recordOne(request, model, card.name, prefix);
      return;
    }
    recordOne({ ...request, common: { ...request.common, score: dense.of } }, model, card.name, prefix);
    outputDense(dense, model, prefix);
  });
  plan.method = requests.map(({ method }) => method.name).join(' + ');
  return plan.finish(Math.min(...requests.map(({ common }) => common.memory ?? 2 ** 30)), inspection);
}

/** What is told of targets that are masks or boxes. */
function outputDense({ of, index, places, box }: DenseScore, model: SymbolicModel, prefix: string): void {
  const { plan } = model;
  plan.output(`${prefix}denseClasses`, index);
  plan.output(`${prefix}denseScores`, of(model.output));
  if (places !== undefined) plan.output(`${prefix}densePlaces`, places);
  if (box !== undefined) plan.output(`${prefix}denseBoxes`, box);
}

/** What was recorded of a method, for whoever reads its map in the same plan. */
export interface Recorded {
  /** The model, of which the request's score is explained. */
  readonly model: SymbolicModel;
  /** The map with its own values: [batch, height, width]; of a method of concepts [batch, concepts, height, width]. */
  readonly map: Value;
  /** The same method's map of other images. */
  readonly mapOf: (images: Value) => Value;
}

/**
 * Records one method's map, and no output.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE, UNKNOWN_NODE, INVALID_OPTION
 */
export function recordMap(
  request: LayeredRequest,
  images: SymbolicModel,
  modelName: string,
): Recorded & ReturnType<typeof mapOf> {
  const { method, common } = request;
  const { inspection } = images;
  const reason = reasonAgainst(request, inspection);
  if (reason !== null) {
    throw new SightlineError('METHOD_NOT_APPLICABLE', `${method.name} cannot explain ${modelName}: ${reason}.`, {
      details: { method: method.name },
    });
  }

  if (inspection.classes === 0 && method.isClassSpecific && typeof common.score !== 'function') {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `${modelName} returns ${inspection.outputShape.join(' x ')} rather than class scores; say what to explain of it by targets { mask: class } or { box: n }, or by \`score\`, a function of its \`output\`.`,
    );
  }

  if (inspection.scores === 'value' && common.score === 'probability') {
    throw new SightlineError(
      'INVALID_OPTION',
      `${modelName} returns a value, which is no probability; leave \`score\` out.`,
    );
  }

  const model = images.explaining(scoreOf(common.score, method.name));
  return { ...mapOf(request, model), model, mapOf: (others) => mapOf(request, model.lookingAt(others)).map };
}

/**
 * Records one method. Its outputs are named after `prefix`.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE, UNKNOWN_NODE, INVALID_OPTION
 */
export function recordOne(request: LayeredRequest, images: SymbolicModel, modelName: string, prefix: string): Recorded {
  const { common } = request;
  const { inspection, plan } = images;
  const recorded = recordMap(request, images, modelName);
  const { model, map, figures, concepts } = recorded;
  const output = (name: string, value: Value): void => plan.output(`${prefix}${name}`, value);
  const places = ['height', 'width'];
  const low = min(map, places);
  const high = max(map, places);
  output('map', common.raw ? map : concepts ? unitOfEach(map, low, high) : scaleToUnit(map));
  output('low', low);
  output('high', high);
  for (const [name, figure] of Object.entries(figures)) output(`figure:${name}`, figure);
  if (inspection.classes > 0) {
    const { logits, probabilities } = model.scoring;
    const best = top(probabilities, common.top ?? DEFAULT_TOP);
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
  return recorded;
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
    throw new SightlineError(
      'INVALID_OPTION',
      `${subject} failed: ${cut(cause instanceof Error ? cause.message : String(cause))}.`,
      { cause },
    );
  }
}

/** What is explained of a run, checked when it is recorded. */
function scoreOf(score: Score | undefined, method: string): ScoreOf {
  if (score === undefined || score === 'logit') return { of: (run) => run.model.scoreIn(run.logits), isLogit: true };
  if (score === 'probability') return { of: (run) => run.model.scoreIn(run.probabilities), isLogit: false };
  let isComputing = false;
  const of = (run: Run): Value => {
    // `run.score` is what this very function gives.
    if (isComputing) {
      throw new SightlineError(
        'INVALID_OPTION',
        'The `score` function reads `score`, which is what it is to give; start from `logits` or `output`.',
      );
    }
    isComputing = true;
    let value: unknown;
    try {
      value = ownCode(`The \`score\` function given to ${method}`, () => score(run));
    } finally {
      isComputing = false;
    }
    if (!(value instanceof Value) || value.axes.join() !== 'batch') {
      const got = value instanceof Value ? `[${value.axes.join(', ')}]` : typeof value;
      throw new SightlineError(
        'INVALID_OPTION',
        `The score that ${method} explains must be one value per image, [batch], but the function returned ${got}; sum or select over the other axes.`,
      );
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
function mapOf(
  { method, settings, layers, layering, common }: LayeredRequest,
  model: SymbolicModel,
): Required<Omit<MapResult, 'concepts'>> & Pick<MapResult, 'concepts'> {
  const { height, width } = model.inspection;
  const compute = (seen: SymbolicModel, layer: string): MapResult => {
    const returned = ownCode(`The map function of ${method.name}`, () =>
      method.map({ model: seen, options: settings, layer }),
    );
    const result = returned instanceof Value ? { map: returned } : returned;
    if (!(result?.map instanceof Value)) {
      throw new SightlineError(
        'INVALID_OPTION',
        `${method.name} must return a map, or { map }, and not ${shown(result)}.`,
      );
    }
    const wanted = result.concepts ? 'batch,concepts,height,width' : 'batch,height,width';
    if (result.map.axes.join() !== wanted) {
      throw new SightlineError(
        'INVALID_OPTION',
        `${method.name} must return a map [${wanted.split(',').join(', ')}], not [${result.map.axes.join(', ')}].`,
      );
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
