import path from 'node:path';

import { z } from 'zod';

import { cut } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import type { LabelledPicture } from './labelled-picture.js';

const id = z.union([z.number(), z.string()]);
const size = z.number().nonnegative();
const annotations = z.object({
  images: z.array(z.object({ id, file_name: z.string().min(1) })),
  annotations: z.array(
    z.object({ image_id: id, category_id: id, bbox: z.tuple([z.number(), z.number(), size, size]) }),
  ),
  categories: z.array(z.object({ id, name: z.string().min(1) })),
});

/** Whether a JSON file is of this format, well-formed or not. */
export const isCoco = (json: unknown): boolean =>
  typeof json === 'object' && json !== null && 'annotations' in json && 'images' in json;

/**
 * The annotations of COCO: each category of a picture once, with the boxes of all its objects. The category's name is
 * the class that is explained.
 *
 * @param file whose folder `file_name` is relative to
 * @throws SightlineError INVALID_OPTION that names the file and what is wrong in it
 */
export function readCoco(json: unknown, file: string): LabelledPicture[] {
  const wrong = (what: string): SightlineError => new SightlineError('INVALID_OPTION', `${file} ${what}.`);
  const parsed = annotations.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw wrong(`is no file of COCO annotations: ${cut(`${issue.path.join('.')}: ${issue.message}`)}`);
  }
  const files = new Map(parsed.data.images.map((image) => [image.id, image.file_name]));
  const names = new Map(parsed.data.categories.map((category) => [category.id, category.name]));
  const pictures = new Map<string, { image: string; target: string; boxes: Box[] }>();
  for (const [at, { image_id, category_id, bbox }] of parsed.data.annotations.entries()) {
    const image = files.get(image_id);
    const target = names.get(category_id);
    if (image === undefined) throw wrong(`has no image ${cut(String(image_id))}, which annotation ${at + 1} is of`);
    if (target === undefined) {
      throw wrong(`has no category ${cut(String(category_id))}, which annotation ${at + 1} is of`);
    }
    const key = JSON.stringify([image_id, category_id]);
    const picture = pictures.get(key) ?? { image: path.join(path.dirname(file), image), target, boxes: [] };
    const [left, top, width, height] = bbox;
    picture.boxes.push({ left, top, width, height });
    pictures.set(key, picture);
  }
  if (pictures.size === 0) throw wrong('lists no object');
  return [...pictures.values()].map(({ image, target, boxes }) => ({ image, target, object: { boxes } }));
}

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}
