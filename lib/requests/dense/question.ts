import type { Inspection } from '../../engine/inspection.js';
import { SightlineError } from '../../support/errors.js';
import type { SymbolicModel } from '../../symbolic/index.js';
import type { CommonOptions, ExplainRequest } from '../explain.js';
import type { KnownModel, Question } from '../question.js';
import { denseScore, type DenseScore } from './score.js';
import { formFor, givenOf, isDenseTarget, kindOf, type DenseTarget } from './targets.js';

type Targets = CommonOptions['targets'];

/**
 * The targets of a call, where they are masks or boxes; null where they are classes.
 *
 * @throws SightlineError INVALID_OPTION for a mixture, and beside a `score` or mirrored images
 */
export function denseTargetsIn(targets: Targets, methods: readonly ExplainRequest[]): readonly DenseTarget[] | null {
  const all = (targets ?? []).flat();
  const dense = all.filter(isDenseTarget);
  if (dense.length === 0) return null;
  const refuse = (why: string): never => {
    throw new SightlineError('INVALID_OPTION', why);
  };
  if (dense.length < all.length || new Set(dense.map((target) => 'mask' in target)).size > 1) {
    refuse('The targets of one call are classes, masks or boxes, not a mixture; make several calls.');
  }
  if (targets!.some((list) => Array.isArray(list) && list.length === 0)) {
    refuse('The list of targets of an image is empty; name a mask or a box.');
  }
  const scored = methods.find(({ common }) => common.score !== undefined);
  if (scored !== undefined) {
    refuse(
      `${scored.method.name} is asked for a \`score\` beside { mask } or { box }, which say themselves what is explained; leave one of them out.`,
    );
  }
  const mirrored = methods.find(({ layering }) => layering.augmentationSmoothing);
  if (mirrored !== undefined) {
    refuse(
      `${mirrored.method.name} is asked for \`augmentationSmoothing\`, which mirrors the image: the same places and boxes show another part of it there. Leave it out.`,
    );
  }
  return dense;
}

/**
 * How a call for masks or boxes is asked of the engine: targets are numbered, and each plan is given what they are.
 *
 * @param all the targets of all images
 */
export function denseQuestion(
  targets: NonNullable<Targets>,
  all: readonly DenseTarget[],
  { card, denseLabels }: KnownModel,
): Required<Pick<Question<unknown>, 'targetsOf' | 'givenOf'>> & {
  readonly scoreAt: (inspection: Inspection) => (model: SymbolicModel) => DenseScore;
} {
  const kind = kindOf(all);
  const lists = targets as readonly DenseTarget[] | readonly (readonly DenseTarget[])[];
  const of = (image: number): readonly DenseTarget[] =>
    (Array.isArray(lists[0]) ? lists[image] : lists) as readonly DenseTarget[];
  return {
    targetsOf: (image) => of(image).map((_, number) => ({ of: number, against: null })),
    givenOf: (image, input, inspection) => givenOf(of(image), formFor(all, inspection, card), denseLabels, kind, input),
    scoreAt: (inspection) => {
      const form = formFor(all, inspection, card);
      return (model) => denseScore(model, form, kind);
    },
  };
}
