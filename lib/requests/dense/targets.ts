import { z } from 'zod';

import type { Inspection } from '../../engine/inspection.js';
import type { Tensor } from '../../engine/native-types.js';
import type { PreparedInput } from '../../images/inputs.js';
import type { ModelCard } from '../../models/card.js';
import { shown } from '../../support/cut.js';
import { SightlineError } from '../../support/errors.js';
import { maskInView, placeSchema, type ObjectPlace } from '../evaluate/mask.js';
import { resolveClasses, type ClassName } from '../targets.js';
import { denseFormOf, type BoxesForm, type DenseForm, type MasksForm } from './form.js';
import { BOX, CLASS, IS_SAID, REGION, type DenseKind } from './given.js';

/**
 * A class of a mask: the sum of its scores over places. By default those where no other class scores higher in the
 * image itself.
 */
export interface MaskTarget {
  /** The class, by index or label. */
  readonly mask: ClassName;
  /** The one place that holds this pixel of the picture, x from the left and y from the top. */
  readonly point?: readonly [x: number, y: number] | undefined;
  /** The places whose centers lie in a part of the picture. */
  readonly region?: ObjectPlace | undefined;
}

/** The score of one of a detector's boxes. */
export interface BoxTarget {
  /** The box's row in the output, from 0, as `predict` gives it. */
  readonly box: number;
  /** The class, by index or label. Default: the box's best in the image itself. */
  readonly class?: ClassName | undefined;
}

/** A target of a model that returns masks or boxes. */
export type DenseTarget = MaskTarget | BoxTarget;

const className = z.union([z.number(), z.string()]);
const pixel = z.int().min(0);
export const denseTargetSchema = z.union([
  z.strictObject({
    mask: className,
    point: z.tuple([pixel, pixel]).optional(),
    region: placeSchema.optional(),
  }),
  z.strictObject({ box: z.int().min(0), class: className.optional() }),
]);

export const isDenseTarget = (target: unknown): target is DenseTarget =>
  typeof target === 'object' && target !== null && ('mask' in target || 'box' in target);

const isMask = (target: DenseTarget): target is MaskTarget => 'mask' in target;

export function kindOf(targets: readonly DenseTarget[]): DenseKind {
  const says = (target: DenseTarget): boolean =>
    isMask(target) ? target.point !== undefined || target.region !== undefined : target.class !== undefined;
  return { isSaid: targets.some(says), isLeftOpen: !targets.every(says) };
}

/**
 * The form that the targets are of.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE where the model returns something else, or nobody knows what
 */
export function formFor(
  targets: readonly DenseTarget[],
  inspection: Inspection,
  card: ModelCard,
): MasksForm | BoxesForm {
  return checkedForm(targets, denseFormOf(inspection, card), card.name);
}

/** @throws SightlineError METHOD_NOT_APPLICABLE */
export function checkedForm(
  targets: readonly DenseTarget[],
  form: DenseForm | null,
  modelName: string,
): MasksForm | BoxesForm {
  const refuse = (why: string): never => {
    throw new SightlineError('METHOD_NOT_APPLICABLE', why);
  };
  const asked = isMask(targets[0]!) ? 'masks' : 'boxes';
  if (form === null) {
    return refuse(`${modelName} returns class scores and no ${asked}; name a class by its index or label.`);
  }
  if (form.kind === 'unknown') return refuse(`${modelName} cannot be asked about ${asked}: ${form.reason}`);
  if (form.kind !== asked) {
    return refuse(
      `${modelName} returns ${form.kind} and no ${asked}; give targets such as ${form.kind === 'masks' ? '{ mask: 0 }' : '{ box: 0 }'}.`,
    );
  }
  return form;
}

/**
 * A class, by its index or label.
 *
 * @throws SightlineError UNKNOWN_TARGET, INVALID_OPTION
 */
function classOf(name: ClassName, labels: readonly string[]): number {
  const [found] = resolveClasses(name, labels);
  if (found! >= 0) return found!;
  throw new SightlineError(
    'INVALID_OPTION',
    `${shown(name)} is a rank, and masks and boxes rank no classes; name the class by its index or label.`,
  );
}

/** @throws SightlineError UNKNOWN_TARGET, INVALID_OPTION */
export function checkDenseTargets(
  targets: readonly DenseTarget[],
  form: MasksForm | BoxesForm,
  labels: readonly string[],
): void {
  for (const target of targets) {
    if (isMask(target)) {
      classOf(target.mask, labels);
      if (target.point !== undefined && target.region !== undefined) {
        throw new SightlineError('INVALID_OPTION', 'A mask is explained at a `point` or over a `region`, not at both.');
      }
      if (form.classes === 1 && target.point === undefined && target.region === undefined) {
        throw new SightlineError(
          'INVALID_OPTION',
          'The mask has one class, which is the highest everywhere; say where by `point` or `region`.',
        );
      }
      continue;
    }
    if (target.class !== undefined) classOf(target.class, labels);
    if (form.kind === 'boxes' && target.box >= form.boxes) {
      throw new SightlineError(
        'UNKNOWN_TARGET',
        `There is no box ${target.box}: the model returns ${form.boxes}, numbered from 0 to ${form.boxes - 1}.`,
      );
    }
  }
}

/**
 * What a plan is given of an image's targets: their classes, boxes, and regions.
 *
 * @throws SightlineError UNKNOWN_TARGET, INVALID_OPTION, INVALID_INPUT
 */
export function givenOf(
  targets: readonly DenseTarget[],
  form: MasksForm | BoxesForm,
  labels: readonly string[],
  { isSaid }: DenseKind,
  input: PreparedInput,
): Readonly<Record<string, Tensor>> {
  checkDenseTargets(targets, form, labels);
  const row = (of: (target: DenseTarget) => number): Tensor => ({
    data: Float32Array.from(targets, of),
    shape: [1, targets.length],
  });
  if (form.kind === 'boxes') {
    const boxes = targets as readonly BoxTarget[];
    return {
      [BOX]: row((target) => (target as BoxTarget).box),
      ...(isSaid && {
        [IS_SAID]: row((target) => Number((target as BoxTarget).class !== undefined)),
        [CLASS]: {
          data: Float32Array.from(boxes, (target) => (target.class === undefined ? 0 : classOf(target.class, labels))),
          shape: [1, boxes.length],
        },
      }),
    };
  }
  const masks = targets as readonly MaskTarget[];
  const classes = row((target) => classOf((target as MaskTarget).mask, labels));
  if (!isSaid) return { [CLASS]: classes };
  const { height, width } = form;
  const regions = new Float32Array(masks.length * height * width);
  const said = masks.map((target, at) => {
    const region = regionOf(target, form, input);
    if (region !== null) regions.set(region, at * height * width);
    return Number(region !== null);
  });
  return {
    [CLASS]: classes,
    [IS_SAID]: { data: Float32Array.from(said), shape: [1, masks.length] },
    [REGION]: { data: regions, shape: [1, masks.length, height, width] },
  };
}

/** The places that a target names, 1 there and else 0: [height, width]; null where it names none. */
function regionOf({ point, region }: MaskTarget, form: MasksForm, input: PreparedInput): Float32Array | null {
  const { height, width } = form;
  if (region !== undefined) {
    const places = maskInView(region, input, form);
    if (places.includes(1)) return places;
    throw new SightlineError(
      'INVALID_INPUT',
      `The region covers no place of the mask of ${input.name}, which has ${width} x ${height} of them; give a larger one.`,
    );
  }
  if (point === undefined) return null;
  const { image, box } = input.picture();
  const [x, y] = point;
  const column = Math.floor(((x + 0.5 - box.left) / box.width) * width);
  const row = Math.floor(((y + 0.5 - box.top) / box.height) * height);
  if (x >= image.width || y >= image.height || column < 0 || column >= width || row < 0 || row >= height) {
    throw new SightlineError(
      'INVALID_INPUT',
      `The point ${x}, ${y} lies outside of what the model sees of ${input.name}: from ${pixels(box.left)}, ${pixels(box.top)} to ${pixels(box.left + box.width)}, ${pixels(box.top + box.height)}.`,
    );
  }
  const places = new Float32Array(height * width);
  places[row * width + column] = 1;
  return places;
}

const pixels = (value: number): string => String(Math.round(value));
