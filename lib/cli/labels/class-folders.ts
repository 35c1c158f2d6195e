import { readdir } from 'node:fs/promises';
import path from 'node:path';

import { SightlineError } from '../../support/errors.js';
import { unreadable } from '../../support/files.js';
import type { LabelledPicture } from './labelled-picture.js';

const PICTURES = /\.(?:jpe?g|png|webp|avif|gif|tiff?)$/i;

/**
 * The pictures of a folder that has a folder for each class: its name is the class that is explained. Hidden files and
 * those that are no pictures by their names are left out.
 *
 * @throws SightlineError FILE_NOT_FOUND; INVALID_OPTION where there is no such picture
 */
export async function readClassFolders(folder: string): Promise<LabelledPicture[]> {
  const pictures: LabelledPicture[] = [];
  for (const { name: target, isFolder } of await listed(folder)) {
    if (!isFolder) continue;
    for (const { name } of await listed(path.join(folder, target))) {
      if (PICTURES.test(name)) pictures.push({ image: path.join(folder, target, name), target, object: null });
    }
  }
  if (pictures.length > 0) return pictures;
  throw new SightlineError(
    'INVALID_OPTION',
    `${folder} has no folder with pictures in it; --labels takes one for each class, named as the model names it.`,
  );
}

async function listed(folder: string): Promise<{ readonly name: string; readonly isFolder: boolean }[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: unknown) => {
    throw unreadable(folder, cause);
  });
  return entries
    .filter(({ name }) => !name.startsWith('.'))
    .map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
