import type { Inspection } from '../engine/inspection.js';
import { SightlineError } from '../support/errors.js';
import { shared } from './explain-options.js';
import { recordExplanations, withLayers, type LayeredRequest } from './explain-plan.js';
import { readExplanations } from './explain-result.js';
import type { ExplainRequest, Explanation } from './explain.js';
import { identityOf, keyOf } from './plan-keys.js';
import type { Request } from './question.js';
import { resolveTargets, type Target } from './targets.js';

/**
 * Methods that are asked together: for each image one explanation by each.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function explainRequest(methods: readonly ExplainRequest[]): Request<Explanation<string, unknown>[]> {
  const { targets, signal, maxPixels } = shared(methods);
  const isPerImage = targets !== undefined && targets.some(Array.isArray);
  if (isPerImage && !targets.every(Array.isArray)) throw new SightlineError('INVALID_OPTION', 'Targets are either one list for all images or one list per image, not a mixture.');
  // A method or score of the user's own is told from others by which object it is.
  const key = keyOf(['explain', ...methods.map(({ method, settings, layers, layering, common }) => [method.name, identityOf(method), settings, layers, layering, { ...common, targets: undefined, signal: undefined, maxPixels: undefined }])]);
  return {
    signal,
    maxPixels,
    question: ({ card, labels }, images) => {
      const perImage = isPerImage ? (targets as readonly (readonly Target[])[]).map((each) => resolveTargets(each, labels)) : null;
      // A model that scores no classes has nothing to predict: only a score of the user's own, or no class at all, is explained.
      const forAll = isPerImage || (targets === undefined && labels.length === 0) ? [] : resolveTargets((targets as readonly Target[] | undefined) ?? ['top1'], labels);
      if (perImage !== null && perImage.length !== images) {
        throw new SightlineError('INVALID_OPTION', `There are ${perImage.length} lists of targets for ${images} images; give one for each, or one list for all.`);
      }
      const layered = (inspection: Inspection): LayeredRequest[] => methods.map((method) => withLayers(method, inspection, card.targetLayer));
      return {
        key,
        targetsOf: (image) => perImage?.[image] ?? forAll,
        record: (inspection) => recordExplanations(layered(inspection), inspection, card),
        read: (result, input, inspection) => readExplanations(layered(inspection), result, input, labels),
      };
    },
  };
}
