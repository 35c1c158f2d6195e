import type { NativeResult, Tensor } from '../../engine/native-types.js';
import { SightlineError } from '../../support/errors.js';
import { readExplanations } from '../explain-result.js';
import { targetsOfCall } from '../explain-request.js';
import { withLayers, type LayeredRequest } from '../explain-plan.js';
import { identityOf, keyOf } from '../plan-keys.js';
import type { Question, Request } from '../question.js';
import type { Judgement, MetricCurve } from './evaluate.js';
import { maskInView, type ObjectPlace } from './mask.js';
import type { EvaluateRequest, LabelledMethod, LabelledMetric } from './options.js';
import { curveOutput, figureOutput, MASK, recordEvaluation, sharesOutput } from './plan.js';

/**
 * One method of an evaluation: for each image a judgement of each target's map.
 *
 * @param at of the methods the number of this one, for the progress
 */
export function judgementRequest(
  { label, request }: LabelledMethod,
  { methods, metrics, objects, onProgress }: EvaluateRequest,
  at: number,
): Request<Judgement[]> {
  const { common } = request;
  const needsMask = metrics.some(({ metric }) => metric.needsMask);
  const key = keyOf([
    'evaluate',
    [request.method.name, identityOf(request.method), request.settings, request.layers, request.layering],
    [common.score, common.memory],
    metrics.map(({ metric, settings }) => [metric.name, identityOf(metric), settings]),
  ]);
  return {
    signal: common.signal,
    client: common.client,
    maxPixels: common.maxPixels,
    output: common.output?.toString(),
    question: ({ card, labels }, images) => {
      checkObjects(objects, images);
      const targetsOf = targetsOfCall(common.targets, labels, images);
      let done = at * images;
      const layered = (inspection: Parameters<typeof withLayers>[1]): LayeredRequest =>
        withLayers(request, inspection, card.targetLayer);
      return {
        key,
        targetsOf,
        ...(needsMask && { givenOf: givenMask(objects!) }),
        record: (inspection) => recordEvaluation(layered(inspection), metrics, inspection, card),
        read: (result, input, inspection) => {
          done++;
          onProgress?.({ done, total: methods.length * images });
          const [explanation] = readExplanations([layered(inspection)], result, input, labels);
          return explanation!.maps.map(({ target, state }, row): Judgement => ({
            image: explanation!.image,
            method: label,
            target,
            state,
            ...readMetrics(metrics, result, row, state === 'ok'),
          }));
        },
      };
    },
  };
}

/** @throws SightlineError INVALID_OPTION unless there is one for each image */
export function checkObjects(objects: readonly ObjectPlace[] | null, images: number): void {
  if (objects === null || objects.length === images) return;
  throw new SightlineError(
    'INVALID_OPTION',
    `There are ${objects.length} objects for ${images} images; give one for each.`,
  );
}

/** What a plan is given with each image where a metric needs the object. */
export function givenMask(objects: readonly ObjectPlace[]): NonNullable<Question<unknown>['givenOf']> {
  return (index, input) => {
    const { height, width } = input.request;
    return { [MASK]: { data: maskInView(objects[index]!, input), shape: [1, height, width] } };
  };
}

function readMetrics(
  metrics: readonly LabelledMetric[],
  { outputs }: NativeResult,
  target: number,
  isMap: boolean,
): Pick<Judgement, 'figures' | 'curves'> {
  const figures: Record<string, number> = {};
  const curves: Record<string, MetricCurve> = {};
  metrics.forEach(({ label }, at) => {
    const { data } = outputs[figureOutput(at)]!;
    figures[label] = isMap ? data[data.length > 1 ? target : 0]! : NaN;
    if (!isMap || outputs[curveOutput(at)] === undefined) return;
    curves[label] = {
      shares: rowOf(outputs[sharesOutput(at)]!, target),
      scores: rowOf(outputs[curveOutput(at)]!, target),
    };
  });
  return { figures, curves };
}

/** A target's row of [points] or [targets, points]. */
function rowOf({ data, shape }: Tensor, target: number): Float32Array {
  const points = shape.at(-1)!;
  const row = shape.length > 1 ? target : 0;
  return data.slice(row * points, (row + 1) * points);
}
