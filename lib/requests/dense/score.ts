import {
  constant,
  detach,
  equal,
  max,
  maximum,
  min,
  pick,
  rename,
  select,
  sum,
  narrow,
  not,
  where,
} from '../../symbolic/index.js';
import type { Axis, Run, SymbolicModel, Value } from '../../symbolic/index.js';
import type { BoxesForm, MasksForm } from './form.js';
import { BOX, CLASS, IS_SAID, REGION, type DenseKind } from './given.js';

/** What is explained of a target, and what is known of it besides: [batch] each. */
export interface DenseScore {
  /** The score of a run: [batch]. */
  readonly of: (run: Run) => Value;
  /** The class. */
  readonly index: Value;
  /** Of a mask, how many places were summed. */
  readonly places?: Value;
  /** Of a box, its row. */
  readonly box?: Value;
}

/**
 * The score of a target, recorded for the images themselves: which places and which class are meant does not change
 * with what a method does to them.
 */
export function denseScore(model: SymbolicModel, form: MasksForm | BoxesForm, kind: DenseKind): DenseScore {
  return form.kind === 'masks' ? maskScore(model, form, kind) : boxScore(model, form, kind);
}

/** The sum over the region of the class's scores. */
function maskScore(model: SymbolicModel, form: MasksForm, { isSaid, isLeftOpen }: DenseKind): DenseScore {
  const at = model.targetIndex();
  const ofTarget = (name: string, axes: readonly Axis[] = []): Value =>
    pick(model.given(name, ['batch', 'asked', ...axes]), at, 'asked');
  const index = ofTarget(CLASS);
  const own = (): Value => equal(bestClass(masksOf(model.output, form), form.classes), index);
  const said = (): Value => ofTarget(REGION, ['height', 'width']);
  const region = !isSaid ? own() : isLeftOpen ? where(ofTarget(IS_SAID), said(), own()) : said();
  return {
    // Not a product: a score that is infinite outside of the region is no part of the sum.
    of: (run) => sum(where(region, pick(masksOf(run, form), index, 'classes'), 0), ['height', 'width']),
    index,
    places: sum(region, ['height', 'width']),
  };
}

/** The score of one class of the box, times that of any object where the output has one. */
function boxScore(model: SymbolicModel, form: BoxesForm, { isSaid, isLeftOpen }: DenseKind): DenseScore {
  const at = model.targetIndex();
  const ofTarget = (name: string): Value => pick(model.given(name, ['batch', 'asked']), at, 'asked');
  const box = ofTarget(BOX);
  const valuesOf = (run: Run): Value => pick(boxesOf(run, form), box, 'boxes');
  const best = (): Value => bestClass(classesOf(valuesOf(model.output), form), form.classes);
  const index = !isSaid ? best() : isLeftOpen ? where(ofTarget(IS_SAID), ofTarget(CLASS), best()) : ofTarget(CLASS);
  return {
    of: (run) => {
      const values = valuesOf(run);
      return withObjectness(pick(classesOf(values, form), index, 'classes'), values, form);
    },
    index,
    box,
  };
}

/** [batch, classes, height, width], by name whatever the order. */
export function masksOf(run: Run, { isClassesLast }: MasksForm): Value {
  if (!isClassesLast) return run.output;
  const renamed = rename(rename(run.output, 'height', 'columns'), 'classes', 'height');
  return rename(rename(renamed, 'width', 'classes'), 'columns', 'width');
}

/** [batch, boxes, values], by name whatever the order. */
export function boxesOf(run: Run, { isValuesFirst }: BoxesForm): Value {
  if (!isValuesFirst) return run.output;
  return rename(rename(rename(run.output, 'boxes', 'rows'), 'values', 'boxes'), 'rows', 'values');
}

export function classesOf(values: Value, { firstClass, classes }: BoxesForm): Value {
  return rename(narrow(values, 'values', firstClass, classes), 'values', 'classes');
}

export function withObjectness(score: Value, values: Value, { objectness }: BoxesForm): Value {
  return objectness === null ? score : score.mul(select(values, 'values', objectness));
}

/** The number of the class that scores highest, of equal ones the first; one whose score is no number counts most. */
export function bestClass(scores: Value, classes: number): Value {
  const own = detach(scores);
  const numbers = constant(
    own,
    Float32Array.from({ length: classes }, (_, index) => index),
    { classes },
  );
  const isBest = maximum(equal(own, max(own, 'classes')), not(equal(own, own)));
  return min(where(isBest, numbers, classes), 'classes');
}
