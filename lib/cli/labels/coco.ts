import { z } from 'zod';

import { cut } from '../../support/cut.js';
import { SightlineError } from '../../support/errors.js';
import {
  cocoBoxes,
  cocoMask,
  isPolygons,
  segmentationSchema,
  type CocoObject,
  type CocoPicture,
} from './coco-objects.js';
import type { Labels, ObjectForm } from './labelled-picture.js';
import { inOneForm } from './object-form.js';
import { within } from './within.js';

const id = z.union([z.number(), z.string()]);
const size = z.number().nonnegative();
const annotations = z.object({
  images: z.array(
    z.object({ id, file_name: z.string().min(1), width: z.unknown().optional(), height: z.unknown().optional() }),
  ),
  annotations: z.array(
    z.object({
      image_id: id,
      category_id: id,
      bbox: z.union([z.tuple([z.number(), z.number(), size, size]), z.tuple([])]).nullish(),
      segmentation: segmentationSchema.nullish(),
    }),
  ),
  categories: z.array(z.object({ id, name: z.string().min(1) })),
});

/** Whether a JSON file is of this format, well-formed or not. */
export const isCoco = (json: unknown): boolean =>
  typeof json === 'object' && json !== null && 'annotations' in json && 'images' in json;

/**
 * The annotations of COCO: each category of a picture once, with all its objects. The category's name is the class that
 * is explained. Annotations without a box and a segmentation are left out, with a note.
 *
 * @param form null: masks where all annotations have a segmentation, else boxes
 * @param images the folder that `file_name` is relative to
 * @throws SightlineError INVALID_OPTION that names the file and what is wrong in it
 */
export function readCoco(json: unknown, file: string, form: ObjectForm | null, images: string): Labels {
  const wrong = (what: string): SightlineError => new SightlineError('INVALID_OPTION', `${file} ${what}.`);
  const parsed = annotations.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw wrong(`is no file of COCO annotations: ${cut(`${issue.path.join('.')}: ${issue.message}`)}`);
  }
  const pictures = new Map(
    parsed.data.images.map(({ id: key, file_name, width, height }): [string | number, CocoPicture] => [
      key,
      {
        path: within(images, file_name),
        size: isLength(width) && isLength(height) ? [height, width] : null,
      },
    ]),
  );
  const names = new Map(parsed.data.categories.map((category) => [category.id, category.name]));
  const found = new Map<string, { picture: CocoPicture; target: string; objects: CocoObject[] }>();
  let empty = 0;
  for (const [at, { image_id, category_id, bbox, segmentation }] of parsed.data.annotations.entries()) {
    const object: CocoObject = {
      box: bbox?.length === 4 ? bbox : null,
      segmentation: !segmentation || (isPolygons(segmentation) && segmentation.length === 0) ? null : segmentation,
    };
    if (object.box === null && object.segmentation === null) {
      empty++;
      continue;
    }
    const picture = pictures.get(image_id);
    const target = names.get(category_id);
    if (picture === undefined) throw wrong(`has no image ${cut(String(image_id))}, which annotation ${at + 1} is of`);
    if (target === undefined) {
      throw wrong(`has no category ${cut(String(category_id))}, which annotation ${at + 1} is of`);
    }
    const key = JSON.stringify([image_id, category_id]);
    const sameClass = found.get(key) ?? { picture, target, objects: [] };
    sameClass.objects.push(object);
    found.set(key, sameClass);
  }
  if (found.size === 0) throw wrong('lists no object with a bbox or a segmentation');
  const labels = inOneForm(
    [...found.values()].map(({ picture, target, objects }) => ({
      image: picture.path,
      target,
      boxes: cocoBoxes(objects, picture),
      mask: cocoMask(objects, picture),
    })),
    form,
    file,
  );
  if (empty === 0) return labels;
  const note = `${empty} of the ${parsed.data.annotations.length} annotations of ${file} have no bbox and no segmentation; they are left out.`;
  return { ...labels, notes: [note, ...labels.notes] };
}

const isLength = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;
