import type { Inspection } from '../../engine/inspection.js';
import type { PlanDescription } from '../../engine/plan-description.js';
import { normalizationOf, type ModelCard } from '../../models/card.js';
import { SightlineError } from '../../support/errors.js';
import { constant, expandLike, SymbolicModel, Value } from '../../symbolic/index.js';
import { PlanRecorder } from '../../symbolic/recorder.js';
import { prefixOf, recordOne, type LayeredRequest, type Recorded } from '../explain-plan.js';
import type { MetricResult } from '../../metrics/metric.js';
import type { LabelledMetric } from './options.js';

/** The name by which a plan is given the object's mask. */
export const MASK = 'mask';
export const figureOutput = (metric: number): string => `metric:${metric}`;
export const curveOutput = (metric: number): string => `curve:${metric}`;
export const sharesOutput = (metric: number): string => `shares:${metric}`;

/**
 * Records a metric of a map.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE, INVALID_OPTION
 */
export function recordMetric(
  { metric, settings }: LabelledMetric,
  { model, map, mapOf }: Recorded,
  method: string,
  modelName: string,
): MetricResult {
  const { plan, inspection } = model;
  if (map.axes.length !== 3) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `${method} gives a map for each concept, and metrics judge one map; leave it out.`,
    );
  }
  plan.method = metric.name;
  if (metric.readsScore && inspection.classes === 0) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `${metric.name} reads the score of a class, and ${modelName} returns ${inspection.outputShape.join(' x ')}.`,
    );
  }
  const measured = metric.measure({
    model,
    map,
    mapOf,
    mask: () => model.given(MASK, ['batch', 'height', 'width']),
    options: settings,
  });
  const result = measured instanceof Value ? { value: measured } : measured;
  if (!(result.value instanceof Value) || result.value.axes.join() !== 'batch') {
    throw new SightlineError('INVALID_OPTION', `${metric.name} must give one figure for each image, [batch].`);
  }
  return result;
}

/**
 * Records one method and what metrics say of its map.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE, UNKNOWN_NODE, INVALID_OPTION
 */
export function recordEvaluation(
  request: LayeredRequest,
  metrics: readonly LabelledMetric[],
  inspection: Inspection,
  card: ModelCard,
): PlanDescription {
  const plan = new PlanRecorder(request.method.name);
  const images = new SymbolicModel(plan, inspection, undefined, undefined, normalizationOf(card.input));
  const recorded = recordOne(request, images, card.name, prefixOf(0));
  metrics.forEach((metric, at) => {
    const { value, curve, shares } = recordMetric(metric, recorded, request.method.name, card.name);
    plan.output(figureOutput(at), value);
    if (curve !== undefined && shares !== undefined) {
      plan.output(curveOutput(at), curve);
      // With the curve, since a kept plan is recorded once and read by many calls.
      const row = constant(curve, Float32Array.from(shares), { sample: shares.length });
      plan.output(sharesOutput(at), expandLike(row, curve));
    }
  });
  plan.method = request.method.name;
  return plan.finish(request.common.memory ?? 2 ** 30, inspection);
}
