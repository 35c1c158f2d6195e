import { SightlineError } from '../../support/errors.js';
import type { LabelledObject, LabelledPicture, Labels, ObjectForm } from './labelled-picture.js';

/** All objects of one class in one picture. */
export interface FoundObjects {
  readonly image: string;
  readonly target: string;
  readonly boxes: LabelledObject;
  /** Null where not all of them have one. */
  readonly mask: LabelledObject | null;
}

/**
 * The objects all in one form, as figures over boxes and over masks are not comparable.
 *
 * @param form null: masks where all have one, else boxes
 * @param file as messages name it
 * @throws SightlineError INVALID_OPTION where no object has a mask, and masks are asked for
 */
export function inOneForm(found: readonly FoundObjects[], form: ObjectForm | null, file: string): Labels {
  const without = found.filter(({ mask }) => mask === null).length;
  const labelled = ({ image, target }: FoundObjects, object: LabelledObject): LabelledPicture => ({
    image,
    target,
    object,
  });
  const counted = `${without} of the ${found.length} classes of pictures in ${file}`;
  if (form === 'masks') {
    if (without === found.length) {
      throw new SightlineError('INVALID_OPTION', `${file} has no mask of any object; leave --objects masks out.`);
    }
    return {
      pictures: found.flatMap((each) => (each.mask === null ? [] : [labelled(each, each.mask)])),
      notes: without === 0 ? [] : [`${counted} have no mask of all their objects; they are left out.`],
    };
  }
  if (form === null && without === 0) return { pictures: found.map((each) => labelled(each, each.mask!)), notes: [] };
  return {
    pictures: found.map((each) => labelled(each, each.boxes)),
    notes:
      form === 'boxes' || without === found.length
        ? []
        : [`${counted} have no mask, so that boxes are taken of all; --objects masks takes the others alone.`],
  };
}
