import { join, parse } from 'node:path';

import sharp, { type Sharp } from 'sharp';

import { safeName, type OutputFolder } from '../cli/output-files.js';
import { listPredictions, percent } from '../cli/words.js';
import { contactSheet, type SheetCell } from '../pictures/sheet.js';
import { Model } from '../model/model.js';
import { DEFAULT_MODEL } from '../models/bundled.js';
import type { ModelInput } from '../models/card.js';
import { inputGeometry } from '../images/geometry.js';
import { peakOf } from './peak.js';
import { readPhotos, type DemoPicture } from './pictures.js';

/** Pixels across one picture of the sheet. */
const CELL = 256;

/**
 * The ImageNet model names what is on real photos, and shows by its CAM where it sees that.
 *
 * @param out the folder of `folder`
 * @returns what to tell of it, and the sheet's path
 */
export async function explainPhotos(
  folder: OutputFolder,
  out: string,
): Promise<{ lines: string[]; sheet: string; written: number }> {
  const photos = await readPhotos();
  console.error(`${DEFAULT_MODEL} explains ${photos.length} photos by cam ...`);
  await using model = await Model.load(DEFAULT_MODEL);
  const { input } = model.card;
  const explanations = await model.explain(
    photos.map(({ path }) => path),
    { method: 'cam' },
  );
  const lines: string[] = [];
  const rows: [SheetCell[], SheetCell[]] = [[], []];
  let named = 0;
  let onObject = 0;
  for (const [i, { predictions, maps }] of explanations.entries()) {
    const photo = photos[i]!;
    const map = maps[0]!;
    const { label, score } = map.target;
    const { object, words } = peakOf(map, photo, input);
    if (photo.labels.includes(label)) named++;
    if (object !== null) onObject++;
    lines.push(`${photo.file}: ${listPredictions(predictions.slice(0, 3))}`, `  cam for ${label}: ${words}`);
    await folder.picture(
      [parse(photo.file).name, 'cam', label].map(safeName).join('-'),
      map.overlay({ legend: true, title: `${label}, ${percent(score)}` }),
    );
    rows[0].push({ image: seen(sharp(photo.path), photo, input) });
    rows[1].push({ image: seen(await map.overlay().sharp(), photo, input), caption: `${label} ${percent(score)}` });
  }
  lines.push(
    '',
    `${named} of ${photos.length} photos are named right, and ${onObject} of ${photos.length} maps peak on what they name.`,
  );
  const sheet = join(out, 'photos.png');
  await (await contactSheet(rows, { cellWidth: CELL })).toFile(sheet);
  return { lines, sheet, written: photos.length };
}

/** The part of a picture that the model sees: photos of several shapes become squares. */
function seen(picture: Sharp, { width, height }: DemoPicture, input: ModelInput): Sharp {
  const { box } = inputGeometry(width, height, input);
  const [left, top] = [Math.round(box.left), Math.round(box.top)];
  return picture.extract({
    left,
    top,
    width: Math.min(width - left, Math.round(box.width)),
    height: Math.min(height - top, Math.round(box.height)),
  });
}
