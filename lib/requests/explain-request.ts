import type { Inspection } from '../engine/inspection.js';
import { SightlineError } from '../support/errors.js';
import { shared } from './explain-options.js';
import { recordExplanations, withLayers, type LayeredRequest } from './explain-plan.js';
import { readExplanations } from './explain-result.js';
import type { CommonOptions, ExplainRequest, Explanation } from './explain.js';
import { identityOf, keyOf } from './plan-keys.js';
import type { Request } from './question.js';
import { denseQuestion, denseTargetsIn } from './dense/question.js';
import { kindOf } from './dense/targets.js';
import { resolveTargets, type ResolvedTarget, type Target } from './targets.js';

/**
 * Methods that are asked together: for each image one explanation by each.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function explainRequest(methods: readonly ExplainRequest[]): Request<Explanation<string, unknown>[]> {
  const { targets, output, signal, client, maxPixels } = shared(methods);
  checkForm(targets);
  const dense = denseTargetsIn(targets, methods);
  // A method or score of the user's own is identified by its object.
  const key = keyOf([
    'explain',
    dense && [kindOf(dense), dense.map((target) => 'mask' in target)[0]],
    ...methods.map(({ method, settings, layers, layering, common }) => [
      method.name,
      identityOf(method),
      settings,
      layers,
      layering,
      { ...common, targets: undefined, output: undefined, signal: undefined, client: undefined, maxPixels: undefined },
    ]),
  ]);
  return {
    signal,
    client,
    maxPixels,
    output: output?.toString(),
    question: (known, images) => {
      const { card } = known;
      checkTargetLists(targets, images);
      const layered = (inspection: Inspection): LayeredRequest[] =>
        methods.map((method) => withLayers(method, inspection, card.targetLayer));
      const labels = dense === null ? known.labels : known.denseLabels;
      const of = dense === null ? null : denseQuestion(targets!, dense, known);
      return {
        key,
        targetsOf: of?.targetsOf ?? targetsOfCall(targets, labels, images),
        ...(of && { givenOf: of.givenOf }),
        record: (inspection) => recordExplanations(layered(inspection), inspection, card, of?.scoreAt(inspection)),
        read: (result, input, inspection) => readExplanations(layered(inspection), result, input, labels),
      };
    },
  };
}

type Targets = CommonOptions['targets'];

/** @throws SightlineError INVALID_OPTION where lists of targets are not one for each image */
export function checkTargetLists(targets: Targets, images: number): void {
  if (!targets?.some(Array.isArray) || targets.length === images) return;
  throw new SightlineError(
    'INVALID_OPTION',
    `There are ${targets.length} lists of targets for ${images} images; give one for each, or one list for all.`,
  );
}

/** @throws SightlineError INVALID_OPTION where some targets are lists and others are not */
function checkForm(targets: Targets): void {
  if (targets === undefined || !targets.some(Array.isArray) || targets.every(Array.isArray)) return;
  throw new SightlineError(
    'INVALID_OPTION',
    'Targets are either one list for all images or one list per image, not a mixture.',
  );
}

/**
 * The targets of each image of a call, by its number.
 *
 * @throws SightlineError UNKNOWN_TARGET, INVALID_OPTION
 */
export function targetsOfCall(
  targets: Targets,
  labels: readonly string[],
  images: number,
): (image: number) => readonly ResolvedTarget[] {
  checkForm(targets);
  if (targets?.some(Array.isArray)) {
    const perImage = (targets as readonly (readonly Target[])[]).map((each) => resolveTargets(each, labels));
    checkTargetLists(targets, images);
    return (image) => perImage[image]!;
  }
  // A model that scores no classes has nothing to predict: only a score of the user's own, or no class at all, is
  // explained.
  const forAll =
    targets === undefined && labels.length === 0
      ? []
      : resolveTargets((targets as readonly Target[] | undefined) ?? ['top1'], labels);
  return () => forAll;
}
