import path from 'node:path';

import { z } from 'zod';

import { cut } from '../../support/cut.js';
import { SightlineError } from '../../support/errors.js';
import { boxesObject, type LabelledPicture } from './labelled-picture.js';
import { maskFileObject } from './mask-file.js';
import { within } from './within.js';

const size = z.number().nonnegative();
const entry = z.strictObject({
  image: z.string().min(1),
  target: z.union([z.string(), z.number()]).optional(),
  mask: z.string().min(1).optional(),
  value: z.int().min(1).max(255).optional(),
  boxes: z
    .array(z.tuple([z.number(), z.number(), size, size]))
    .min(1)
    .optional(),
});

/**
 * Entries of this command's own: `{ "image": "dog.jpg", "target": "collie", "boxes": [[left, top, width, height]] }`,
 * or `{ ..., "mask": "dog-mask.png", "value": 2 }`. Masks are relative to the file. A mask is not black on the object;
 * with `value` it has that gray there.
 *
 * @param images the folder that paths of pictures are relative to
 * @param nameOf what messages call an entry
 * @throws SightlineError INVALID_OPTION that names the file and its entry
 */
export function readOwnLabels(
  entries: readonly unknown[],
  file: string,
  images: string,
  nameOf = (at: number): string => `Entry ${at + 1} of ${file}`,
): LabelledPicture[] {
  if (entries.length === 0) throw new SightlineError('INVALID_OPTION', `${file} lists no picture.`);
  const folder = path.dirname(file);
  return entries.map((given, at): LabelledPicture => {
    const parsed = entry.safeParse(given);
    if (!parsed.success) {
      const issue = parsed.error.issues[0]!;
      throw new SightlineError(
        'INVALID_OPTION',
        `${nameOf(at)} is wrong: ${cut([issue.path.join('.'), issue.message].filter(Boolean).join(': '))}.`,
      );
    }
    const { image, target, mask, value, boxes } = parsed.data;
    if (mask !== undefined && boxes !== undefined) {
      throw new SightlineError('INVALID_OPTION', `${nameOf(at)} has a mask and boxes; give one of them.`);
    }
    if (mask === undefined && value !== undefined) {
      throw new SightlineError('INVALID_OPTION', `${nameOf(at)} has a value, which is a mask's, and no mask.`);
    }
    return {
      image: within(images, image),
      target: target ?? null,
      object:
        mask !== undefined
          ? maskFileObject(within(folder, mask), value === undefined ? null : [[value, value, value]])
          : boxes === undefined
            ? null
            : boxesObject(boxes),
    };
  });
}
