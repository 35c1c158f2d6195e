import { parse } from 'csv-parse/sync';

import { cut } from '../../support/cut.js';
import { SightlineError } from '../../support/errors.js';
import { firstLine } from '../../support/files.js';
import type { LabelledPicture } from './labelled-picture.js';
import { readOwnLabels } from './own-labels.js';

const BOX = ['left', 'top', 'width', 'height'] as const;
const COLUMNS = ['image', 'target', 'mask', 'value', ...BOX];

type Row = Readonly<Record<string, string>>;
interface Entry {
  readonly image: string;
  readonly target?: string;
  readonly mask?: string;
  readonly value?: number;
  boxes?: number[][];
}

/**
 * A table with a header: `image`, `target`, and of the object `mask` and `value`, or `left`, `top`, `width` and
 * `height`. Rows of one image and target, each with a box, are one picture with several boxes.
 *
 * @param images the folder that paths of pictures are relative to
 * @throws SightlineError INVALID_OPTION that names the file and its line
 */
export function readCsvLabels(text: string, file: string, images: string): LabelledPicture[] {
  const rows = rowsOf(text, file);
  const entries: Entry[] = [];
  const lines: number[] = [];
  const withBoxes = new Map<string, Entry>();
  for (const { record, line } of rows) {
    const entry = entryOf(record, `Line ${line} of ${file}`);
    const key = JSON.stringify([entry.image, entry.target]);
    const before = entry.boxes === undefined ? undefined : withBoxes.get(key);
    if (before !== undefined) {
      before.boxes!.push(...entry.boxes!);
      continue;
    }
    entries.push(entry);
    lines.push(line);
    if (entry.boxes !== undefined) withBoxes.set(key, entry);
  }
  return readOwnLabels(entries, file, images, (at) => `Line ${lines[at]} of ${file}`);
}

function rowsOf(text: string, file: string): { readonly record: Row; readonly line: number }[] {
  let header: string[] = [];
  let rows: { record: Row; info: { lines: number } }[];
  try {
    rows = parse(text, {
      bom: true,
      columns: (names: string[]) => (header = names),
      info: true,
      skip_empty_lines: true,
      trim: true,
    }) as unknown as typeof rows;
  } catch (cause) {
    throw new SightlineError('INVALID_OPTION', `${file} is no CSV table: ${cut(firstLine(cause))}.`, { cause });
  }
  const wrong = (what: string): SightlineError =>
    new SightlineError('INVALID_OPTION', `The header of ${file} ${what}; its columns are ${COLUMNS.join(', ')}.`);
  const unknown = header.find((name) => !COLUMNS.includes(name));
  if (unknown !== undefined) throw wrong(`has ${unknown === '' ? 'a column without a name' : `"${cut(unknown)}"`}`);
  const twice = header.find((name, at) => header.indexOf(name) < at);
  if (twice !== undefined) throw wrong(`has "${twice}" twice`);
  if (!header.includes('image')) throw wrong('has no "image"');
  return rows.map(({ record, info }) => ({ record, line: info.lines }));
}

function entryOf(record: Row, name: string): Entry {
  const number = (column: string): number => {
    const given = record[column]!;
    const value = Number(given);
    if (given === '' || !Number.isFinite(value)) {
      throw new SightlineError('INVALID_OPTION', `${name} has the ${column} "${cut(given)}"; give a number.`);
    }
    return value;
  };
  const has = (column: string): boolean => (record[column] ?? '') !== '';
  const missing = BOX.filter((column) => !has(column));
  if (missing.length > 0 && missing.length < BOX.length) {
    throw new SightlineError('INVALID_OPTION', `${name} has no ${missing[0]}; a box has all of ${BOX.join(', ')}.`);
  }
  return {
    image: record['image']!,
    ...(has('target') && { target: record['target']! }),
    ...(has('mask') && { mask: record['mask']! }),
    ...(has('value') && { value: number('value') }),
    ...(missing.length === 0 && { boxes: [BOX.map(number)] }),
  };
}
