import type { Inspection } from '../../engine/inspection.js';
import type { ModelCard } from '../../models/card.js';
import type { DenseCard } from '../../models/dense-card.js';

/** Scores of each class at each place: [N, classes, height, width], or the classes last. */
export interface MasksForm {
  /** The kind of the output. */
  readonly kind: 'masks';
  /** How many classes. */
  readonly classes: number;
  /** Rows of places. */
  readonly height: number;
  /** Columns of places. */
  readonly width: number;
  /** Whether it is [N, height, width, classes]. */
  readonly isClassesLast: boolean;
}

/** A row of values for each box: where it lies, then the score of each class. */
export interface BoxesForm {
  /** The kind of the output. */
  readonly kind: 'boxes';
  /** How many boxes, those of nothing included. */
  readonly boxes: number;
  /** How many classes. */
  readonly classes: number;
  /** Whether it is [N, values, boxes] rather than [N, boxes, values]. */
  readonly isValuesFirst: boolean;
  /** Of a box's values the first that is a class's score. */
  readonly firstClass: number;
  /** Of a box's values the one by which its classes' scores are multiplied; null for none. */
  readonly objectness: number | null;
  /** The meaning of the first four values; null where that is not known, or where there are none. */
  readonly place: 'center' | 'corners' | null;
  /** Their unit: pixels of the model's input, or its width and height. */
  readonly unit: 'pixels' | 'sides';
}

/** The form of an output that scores no classes of the whole image; `unknown` with the reason, as a sentence. */
export type DenseForm = MasksForm | BoxesForm | { readonly kind: 'unknown'; readonly reason: string };

type Size = readonly [number, number];
type Told<Kind extends DenseCard['kind']> = Extract<DenseCard, { kind: Kind }>;

const SAY = 'say by `dense` in its card what it is';

/**
 * How the output of a model is read that returns no class scores; null where it does. What its shape leaves open is for
 * the card to say, and is not guessed.
 */
export function denseFormOf(
  { classes, outputShape, height, width }: Pick<Inspection, 'classes' | 'outputShape' | 'height' | 'width'>,
  { dense: told, labels }: Pick<ModelCard, 'dense' | 'labels'>,
): DenseForm | null {
  if (classes > 0) return null;
  const [, ...sizes] = outputShape;
  const shape = `The output ${['N', ...sizes].join(' x ')}`;
  const unknown = (why: string): DenseForm => ({ kind: 'unknown', reason: `${shape} ${why}.` });
  const labelled = labels === undefined ? null : labels === 'imagenet-1k' ? 1000 : labels.length;
  if (sizes.length === 3 && told?.kind !== 'boxes') {
    return (
      masksOf(sizes as [number, number, number], [height, width], told, labelled) ??
      unknown(
        `does not show by its shape whether the classes come first or last: ${SAY}, such as { "kind": "masks", "classes": "first" }`,
      )
    );
  }
  if (sizes.length === 2 && told?.kind !== 'masks') {
    const boxes = boxesOf(sizes as [number, number], told, labelled);
    return typeof boxes === 'string' ? unknown(boxes) : boxes;
  }
  return unknown(
    told === undefined
      ? 'has neither the axes of masks nor those of boxes'
      : `has ${sizes.length + 1} axes, which are not those of the ${told.kind} that the card says`,
  );
}

function masksOf(
  [first, second, third]: readonly [number, number, number],
  image: Size,
  told: Told<'masks'> | undefined,
  labelled: number | null,
): MasksForm | null {
  const ways = [
    { isClassesLast: false, classes: first, height: second, width: third },
    { isClassesLast: true, classes: third, height: first, width: second },
  ];
  const said = told?.classes;
  const fitting =
    said === undefined
      ? ways.filter(({ height, width }) => isOfProportions([height, width], image))
      : ways.filter(({ isClassesLast }) => isClassesLast === (said === 'last'));
  const named = fitting.length > 1 ? fitting.filter(({ classes }) => classes === labelled) : fitting;
  return named.length === 1 ? { kind: 'masks', ...named[0]! } : null;
}

/** Whether a grid is the image in fewer places, up to one that was rounded off. */
function isOfProportions([height, width]: Size, [imageHeight, imageWidth]: Size): boolean {
  if (height < 2 || width < 2 || height > imageHeight || width > imageWidth) return false;
  return Math.abs((height * imageWidth) / imageHeight - width) <= 1;
}

/** The reason, after "The output ...", where the shape and the card do not tell. */
function boxesOf(sizes: Size, told: Told<'boxes'> | undefined, labelled: number | null): BoxesForm | string {
  const { values: said, place, unit = 'pixels', objectness } = told ?? {};
  const corners = place === 'none' ? 0 : 4;
  const classesOf = (values: number): number | null => {
    if (objectness !== undefined) return values - corners - Number(objectness);
    // A fifth value may be an object's probability, a class's score or another thing: only the labels tell.
    return labelled !== null && values === corners + labelled ? labelled : null;
  };
  const ways = [
    { isValuesFirst: false, boxes: sizes[0], values: sizes[1] },
    { isValuesFirst: true, boxes: sizes[1], values: sizes[0] },
  ].filter(({ isValuesFirst }) => said === undefined || isValuesFirst === (said === 'first'));
  const fitting = ways.flatMap((way) => {
    const classes = classesOf(way.values);
    const isRight = classes !== null && classes > 0 && (labelled === null || classes === labelled);
    return isRight ? [{ ...way, classes }] : [];
  });
  if (fitting.length !== 1) {
    const example = '{ "kind": "boxes", "values": "last", "place": "center", "objectness": false }';
    if (told === undefined || labelled === null) {
      return `does not tell how many of its values are scores of classes: give its card the labels, or ${SAY}, such as ${example}`;
    }
    return `does not have the values that its card says: ${corners} of the place, ${labelled} classes${objectness ? ' and one of any object' : ''}; correct \`dense\` or \`labels\` there`;
  }
  const [{ isValuesFirst, boxes, values, classes }] = fitting as [(typeof fitting)[number]];
  // Finished detections have as many: corners, a score and the number of the class.
  if (objectness === undefined && values === 6) {
    return `may be finished detections, whose sixth value is no score: ${SAY}, such as { "kind": "boxes", "values": "last", "place": "center", "objectness": false }`;
  }
  return {
    kind: 'boxes',
    boxes,
    classes,
    isValuesFirst,
    firstClass: values - classes,
    objectness: objectness === true ? corners : null,
    place: place === undefined || place === 'none' ? null : place,
    unit,
  };
}
