import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';

import { z } from 'zod';

import { decodeImage } from '../images/source.js';
import type { ObjectPlace } from '../requests/evaluate/mask.js';
import { cut } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import { firstLine, unreadable } from '../support/files.js';
import { readClassFolders } from './class-folders.js';
import { isCoco, readCoco } from './coco-labels.js';
import type { LabelledPicture } from './labelled-picture.js';

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
 * Reads a folder with one of pictures for each class, annotations of COCO, or a file of this command's own.
 *
 * Its own is a JSON list, or a line of JSON for each picture:
 * `{ "image": "dog.jpg", "target": "collie", "boxes": [[left, top, width, height]] }`, or
 * `{ ..., "mask": "dog-mask.png", "value": 2 }`. Paths are relative to the file. A mask is not black on the object;
 * with `value` it has that gray there.
 *
 * @throws SightlineError FILE_NOT_FOUND, INVALID_OPTION that names the file and its entry
 */
export async function readLabels(file: string): Promise<LabelledPicture[]> {
  const found = await stat(file).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  if (found.isDirectory()) return readClassFolders(file);
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  const entries = parseEntries(text, file);
  if (entries.length === 1 && isCoco(entries[0])) return readCoco(entries[0], file);
  if (entries.length === 0) throw new SightlineError('INVALID_OPTION', `${file} lists no picture.`);
  const folder = path.dirname(file);
  const pictures: LabelledPicture[] = [];
  for (const [at, given] of entries.entries()) {
    const parsed = entry.safeParse(given);
    if (!parsed.success) {
      const issue = parsed.error.issues[0]!;
      throw new SightlineError(
        'INVALID_OPTION',
        `Entry ${at + 1} of ${file} is wrong: ${cut([issue.path.join('.'), issue.message].filter(Boolean).join(': '))}.`,
      );
    }
    const { image, target, mask, value, boxes } = parsed.data;
    if (mask !== undefined && boxes !== undefined) {
      throw new SightlineError('INVALID_OPTION', `Entry ${at + 1} of ${file} has a mask and boxes; give one of them.`);
    }
    pictures.push({
      image: path.join(folder, image),
      target: target ?? null,
      object:
        mask !== undefined
          ? await readMask(path.join(folder, mask), value)
          : boxes === undefined
            ? null
            : { boxes: boxes.map(([left, top, width, height]) => ({ left, top, width, height })) },
    });
  }
  return pictures;
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
      `${file} is no JSON (${cut(firstLine(cause))}); write a list, or a line of JSON for each picture.`,
      { cause },
    );
  }
}

async function readMask(file: string, value: number | undefined): Promise<ObjectPlace> {
  const { data, width, height } = await decodeImage(file, { name: file });
  const isObject = (red: number, green: number, blue: number): boolean =>
    value === undefined ? red + green + blue > 0 : red === value && green === value && blue === value;
  const mask = Uint8Array.from({ length: width * height }, (_, i) =>
    isObject(data[3 * i]!, data[3 * i + 1]!, data[3 * i + 2]!) ? 1 : 0,
  );
  return { data: mask, width, height };
}
