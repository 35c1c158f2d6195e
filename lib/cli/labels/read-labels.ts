import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';

import { cut } from '../../support/cut.js';
import { SightlineError } from '../../support/errors.js';
import { firstLine, unreadable } from '../../support/files.js';
import { readClassFolders } from './class-folders.js';
import { isCoco, readCoco } from './coco.js';
import { readCsvLabels } from './csv-labels.js';
import type { LabelledPicture, Labels, ObjectForm } from './labelled-picture.js';
import { readOwnLabels } from './own-labels.js';
import { isVocFolder, readVoc } from './pascal-voc.js';

/**
 * Reads a folder with one of pictures for each class, Pascal VOC (its folder, or one .xml file), annotations of COCO, a
 * .csv table, or a JSON file of this command's own.
 *
 * @param form how objects are read of COCO and Pascal VOC; null: masks where all objects have one, else boxes
 * @param images the folder that paths of pictures are relative to; null: that of the file
 * @throws SightlineError FILE_NOT_FOUND, INVALID_OPTION that names the file and its entry
 */
export async function readLabels(
  file: string,
  form: ObjectForm | null = null,
  images: string | null = null,
): Promise<Labels> {
  const found = await stat(file).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  const whole = (pictures: readonly LabelledPicture[]): Labels => {
    if (form === null) return { pictures, notes: [] };
    throw new SightlineError(
      'INVALID_OPTION',
      `--objects says what is read of COCO and Pascal VOC, and ${file} is neither; leave it out.`,
    );
  };
  if (images !== null && (found.isDirectory() || /\.xml$/i.test(file))) {
    throw new SightlineError(
      'INVALID_OPTION',
      `--images says where the pictures of a file of labels are, and ${file} has its own beside it; leave it out.`,
    );
  }
  if (found.isDirectory()) {
    return (await isVocFolder(file)) ? readVoc(file, form) : whole(await readClassFolders(file));
  }
  if (/\.xml$/i.test(file)) return readVoc(file, form);
  const folder = images ?? path.dirname(file);
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  if (/\.csv$/i.test(file)) return whole(readCsvLabels(text, file, folder));
  const entries = parseEntries(text, file);
  if (entries.length === 1 && isCoco(entries[0])) return readCoco(entries[0], file, form, folder);
  return whole(readOwnLabels(entries, file, folder));
}

function parseEntries(text: string, file: string): unknown[] {
  try {
    const whole = JSON.parse(text) as unknown;
    return Array.isArray(whole) ? whole : [whole];
  } catch {
    // A line each.
  }
  try {
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line) as unknown);
  } catch (cause) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${file} is no JSON (${cut(firstLine(cause))}); write a list, or a line of JSON for each picture, or end its name in .csv or .xml.`,
      { cause },
    );
  }
}
