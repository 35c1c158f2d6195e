import type { Inspection } from '../../engine/inspection.js';
import type { PlanDescription } from '../../engine/plan-description.js';
import { normalizationOf, type ModelCard } from '../../models/card.js';
import { max, min, SymbolicModel } from '../../symbolic/index.js';
import { PlanRecorder } from '../../symbolic/recorder.js';
import { recordMetric } from '../evaluate/plan.js';
import { checkObjects, givenMask } from '../evaluate/request.js';
import { recordMap, withLayers } from '../explain-plan.js';
import { targetsOfCall } from '../explain-request.js';
import type { Request } from '../question.js';
import { isMap } from '../explain-result.js';
import type { Candidate, SearchRequest } from './options.js';

/** Where an image's figures are read from. */
const outputsOf = (at: number) => ({ figure: `figure:${at}`, low: `low:${at}`, high: `high:${at}` });

/**
 * Some candidates, judged together: for each image and target one figure by each, NaN where its map is flat or not
 * finite. All share the run on the image, its gradients, and what else they have in common.
 */
export function figuresRequest(
  candidates: readonly Candidate[],
  { metric, objects, targets, signal }: Pick<SearchRequest, 'metric' | 'objects' | 'targets' | 'signal'>,
  onImage: () => void,
): Request<number[][]> {
  return {
    signal,
    question: ({ card, labels }, images) => {
      checkObjects(objects, images);
      const targetsOf = targetsOfCall(targets, labels, images);
      return {
        key: null,
        targetsOf,
        ...(metric.metric.needsMask && { givenOf: givenMask(objects!) }),
        record: (inspection) => recordCandidates(candidates, metric, inspection, card),
        read: ({ outputs, targets: resolved }) => {
          onImage();
          return Array.from({ length: Math.max(1, resolved.length) }, (_, target) =>
            candidates.map((_, at) => {
              const value = (name: string): number => {
                const { data } = outputs[name]!;
                return data[data.length > 1 ? target : 0]!;
              };
              const { figure, low, high } = outputsOf(at);
              return isMap(value(low), value(high)) ? value(figure) : NaN;
            }),
          );
        },
      };
    },
  };
}

function recordCandidates(
  candidates: readonly Candidate[],
  metric: SearchRequest['metric'],
  inspection: Inspection,
  card: ModelCard,
): PlanDescription {
  const plan = new PlanRecorder('search', false);
  const images = new SymbolicModel(plan, inspection, undefined, undefined, normalizationOf(card.input));
  candidates.forEach(({ request }, at) => {
    plan.method = request.method.name;
    const recorded = recordMap(withLayers(request, inspection, card.targetLayer), images, card.name);
    const { value } = recordMetric(metric, recorded, request.method.name, card.name);
    const { figure, low, high } = outputsOf(at);
    plan.output(figure, value);
    plan.output(low, min(recorded.map, ['height', 'width']));
    plan.output(high, max(recorded.map, ['height', 'width']));
  });
  if (inspection.classes > 0) plan.rankBy(images.scoring.logits);
  plan.method = 'search';
  return plan.finish(candidates[0]!.request.common.memory ?? 2 ** 30, inspection);
}
