import { z } from 'zod';

import type { NativeResult, Tensor } from '../engine/native-types.js';
import { SightlineError } from '../support/errors.js';
import type { Prediction } from './heatmap.js';
import { keyOf } from './plan-keys.js';
import { clientOption, outputOption, type Request } from './question.js';
import type { PreparedInput } from '../images/inputs.js';
import type { Inspection } from '../engine/inspection.js';
import type { ModelCard } from '../models/card.js';
import { denseFormOf, type BoxesForm, type MasksForm } from './dense/form.js';
import { readDensePredictions, recordDensePrediction } from './dense/predict.js';
import { parseOptions } from '../support/options.js';
import { SymbolicModel, top } from '../symbolic/index.js';
import type { PlanDescription } from '../engine/plan-description.js';
import { PlanRecorder } from '../symbolic/recorder.js';

/** Options of `predict`. */
export interface PredictOptions {
  /** How many of the best classes to list: 1 to 1,000,000, all where the model has fewer. Default 5. */
  readonly top?: number | undefined;
  /** Of a model that returns several, the output whose scores are given. Default: that of `Model.load`. */
  readonly output?: string | number | undefined;
  /**
   * Most pixels of an image: 1 or more. Larger images are refused before they are decoded. Default: that of
   * `Model.load`.
   */
  readonly maxPixels?: number | undefined;
  /**
   * Whose request it is, such as a user's name: at most 256 characters. Requests of different clients take turns, so
   * that many of one do not hold up another's. Default: one client for all that name none.
   */
  readonly client?: string | undefined;
  /** Aborting rejects with ABORTED at once. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** The prediction for one image: one plain forward pass, without an explanation. */
export interface Predicted {
  /** The image's file name, or `image-0`, `image-1`, ... */
  readonly image: string;
  /**
   * The best classes, best first, by probability: softmax of classes, a sigmoid for each label (`inspect().scores` says
   * which). Of masks those that are the highest somewhere, by their share of the places. Of boxes the best. Where the
   * card says their `place`, boxes of one class that share more than half of their union are listed once.
   */
  readonly predictions: readonly Prediction[];
  /** Scores before softmax or sigmoid: [classes]. Of masks and boxes the output itself. */
  readonly logits: Tensor;
}

/** More than any model has classes. */
const MOST = 1_000_000;
const TOP = `give a whole number from 1 to ${MOST}`;
/** How many of the best classes an answer lists; 5 where it is left out. */
export const topOption = z.int({ error: TOP }).min(1, { error: TOP }).max(MOST, { error: TOP });
export const DEFAULT_TOP = 5;

const schema = z.strictObject({
  top: topOption.default(DEFAULT_TOP),
  output: outputOption.optional(),
  maxPixels: z.int().min(1).optional(),
  client: clientOption,
  signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional(),
});

/** @throws SightlineError INVALID_OPTION */
export function predictRequest(options: PredictOptions): Request<Predicted> {
  const { top: count, output, maxPixels, client, signal } = parseOptions(schema, options, 'predict');
  return {
    signal,
    client,
    maxPixels,
    output: output?.toString(),
    question: ({ card, labels, denseLabels }) => ({
      key: keyOf(['predict', count]),
      targetsOf: () => [],
      record: (inspection) => recordPrediction(count, inspection, formOf(inspection, card)),
      read: (result, input, inspection) => {
        const form = formOf(inspection, card);
        if (form === null) return readPrediction(result, input, labels);
        const predictions = readDensePredictions(result, form, denseLabels, count, input);
        return { image: input.name, predictions, logits: result.outputs['logits']! };
      },
    }),
  };
}

/**
 * Null where the model scores classes of the whole image.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE for a model that scores none that are known
 */
function formOf(inspection: Inspection, card: ModelCard): MasksForm | BoxesForm | null {
  const form = denseFormOf(inspection, card);
  if (form?.kind !== 'unknown') return form;
  throw new SightlineError(
    'METHOD_NOT_APPLICABLE',
    `The model returns ${inspection.outputShape.join(' x ')} rather than class scores, so it predicts no class. ${form.reason}`,
  );
}

function recordPrediction(count: number, inspection: Inspection, form: MasksForm | BoxesForm | null): PlanDescription {
  const plan = new PlanRecorder('predict');
  if (form !== null) {
    recordDensePrediction(new SymbolicModel(plan, inspection), form, count);
    return plan.finish(2 ** 30, inspection);
  }
  const { logits, probabilities } = new SymbolicModel(plan, inspection).output;
  const best = top(probabilities, count);
  plan.output('logits', logits);
  plan.output('scores', best.values);
  plan.output('classes', best.indices);
  return plan.finish(2 ** 30, inspection);
}

function readPrediction({ outputs }: NativeResult, input: PreparedInput, labels: readonly string[]): Predicted {
  const scores = outputs['scores']!.data;
  return {
    image: input.name,
    predictions: Array.from(outputs['classes']!.data, (index, i) => ({
      index,
      label: labels[index]!,
      score: scores[i]!,
    })),
    logits: outputs['logits']!,
  };
}
