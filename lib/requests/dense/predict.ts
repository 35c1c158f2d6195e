import type { NativeResult } from '../../engine/native-types.js';
import type { PreparedInput } from '../../images/inputs.js';
import { constant, equal, gather, max, mean, select, top, type SymbolicModel } from '../../symbolic/index.js';
import type { Box } from '../evaluate/mask.js';
import type { Prediction } from '../heatmap.js';
import type { BoxesForm, MasksForm } from './form.js';
import { bestClass, boxesOf, classesOf, masksOf, withObjectness } from './score.js';

/** Boxes that are looked at for doubles: what lies below the best of them is seldom anything. */
const CANDIDATES = 300;
/** Boxes of one class that share more of their union than this are one object. */
const DOUBLE = 0.5;

const SIDES = [0, 1, 2, 3] as const;

/** Records what masks or boxes say of the images: of masks each class's share of the places, of boxes the best. */
export function recordDensePrediction(model: SymbolicModel, form: MasksForm | BoxesForm, count: number): void {
  const { plan, output: run } = model;
  plan.output('logits', run.output);
  if (form.kind === 'masks') {
    const best = bestClass(masksOf(run, form), form.classes);
    const numbers = Float32Array.from({ length: form.classes }, (_, index) => index);
    const shares = mean(equal(best, constant(best, numbers, { classes: form.classes })), ['height', 'width']);
    const ranked = top(shares, count);
    plan.output('scores', ranked.values);
    plan.output('classes', ranked.indices);
    return;
  }
  const boxes = boxesOf(run, form);
  const scores = classesOf(boxes, form);
  const ranked = top(withObjectness(max(scores, 'classes'), boxes, form), Math.max(CANDIDATES, count));
  plan.output('scores', ranked.values);
  plan.output('classes', gather(bestClass(scores, form.classes), ranked.indices));
  plan.output('boxes', ranked.indices);
  if (form.place === null) return;
  for (const side of SIDES) plan.output(`side${side}`, gather(select(boxes, 'values', side), ranked.indices));
}

/** Of masks the classes that are the highest somewhere, by their share; of boxes the best, doubles left out. */
export function readDensePredictions(
  { outputs }: NativeResult,
  form: MasksForm | BoxesForm,
  labels: readonly string[],
  count: number,
  input: PreparedInput,
): Prediction[] {
  const scores = outputs['scores']!.data;
  const found = Array.from(outputs['classes']!.data, (value, at): Prediction => {
    const index = Math.round(value);
    return { index, label: labels[index]!, score: scores[at]! };
  });
  if (form.kind === 'masks') return found.filter(({ score }) => score > 0);
  const rows = outputs['boxes']!.data;
  const boxes = found.map((prediction, at) => ({ ...prediction, box: Math.round(rows[at]!) }));
  if (form.place === null) return boxes.slice(0, count);
  const sides = SIDES.map((side) => outputs[`side${side}`]!.data);
  const inPicture = picturePlaces(form, input);
  const placed = boxes.map((each, at) => ({ ...each, place: inPicture(sides.map((side) => side[at]!)) }));
  const kept: typeof placed = [];
  for (const each of placed) {
    if (kept.length === count) break;
    const isDouble = kept.some(({ index, place }) => index === each.index && overlap(place, each.place) > DOUBLE);
    if (!isDouble) kept.push(each);
  }
  return kept;
}

/** From a box's four values to its place in the picture, of which the model may have seen a part. */
function picturePlaces({ place, unit }: BoxesForm, { request, picture }: PreparedInput): (sides: number[]) => Box {
  const { box } = picture();
  const across = box.width / (unit === 'sides' ? 1 : request.width);
  const down = box.height / (unit === 'sides' ? 1 : request.height);
  return ([first, second, third, fourth]) => {
    const [width, height] = place === 'center' ? [third!, fourth!] : [third! - first!, fourth! - second!];
    const [left, top] = place === 'center' ? [first! - width / 2, second! - height / 2] : [first!, second!];
    return {
      left: box.left + left * across,
      top: box.top + top * down,
      width: width * across,
      height: height * down,
    };
  };
}

/** What two boxes share of their union, in [0, 1]. */
function overlap(a: Box, b: Box): number {
  const width = Math.min(a.left + a.width, b.left + b.width) - Math.max(a.left, b.left);
  const height = Math.min(a.top + a.height, b.top + b.height) - Math.max(a.top, b.top);
  const shared = Math.max(0, width) * Math.max(0, height);
  const union = a.width * a.height + b.width * b.height - shared;
  return union > 0 ? shared / union : 0;
}
