import { writeFileSync } from 'node:fs';
import path from 'node:path';

import type { ObjectForm } from '../../lib/cli/labels/labelled-picture.js';
import { readLabels } from '../../lib/cli/labels/read-labels.js';
import { temporaryFolder } from './command.js';

/** Writes a file into a folder of its own; gives its path. */
export function fileOf(name: string, text: string | object): string {
  const file = path.join(temporaryFolder(), name);
  writeFileSync(file, typeof text === 'string' ? text : JSON.stringify(text));
  return file;
}

/** What labels say of each picture, its mask as lines of `#` and `.`. */
export async function said(
  file: string,
  form: ObjectForm | null = null,
  images: string | null = null,
): Promise<unknown[]> {
  const { pictures } = await readLabels(file, form, images);
  return Promise.all(
    pictures.map(async ({ image, target, object }) => {
      const place = await object?.read();
      const where =
        place === undefined
          ? null
          : 'boxes' in place
            ? place.boxes.map(({ left, top, width, height }) => [left, top, width, height])
            : Array.from({ length: place.height }, (_, row) =>
                Array.from(place.data.subarray(row * place.width, (row + 1) * place.width), (on) =>
                  on === 0 ? '.' : '#',
                ).join(''),
              );
      return [path.relative(path.dirname(file), image), target, where];
    }),
  );
}
