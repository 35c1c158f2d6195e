import { SightlineError } from '../support/errors.js';
import { ConfigFields } from './config-fields.js';
import { isFileInside } from './names.js';

/** Whether a weights' file is only the list of its parts. */
export function isIndex(file: string): boolean {
  return file.endsWith('.index.json');
}

/**
 * The parts that `model.safetensors.index.json` names, sorted, as paths in the repository: they lie beside it.
 *
 * @throws SightlineError INVALID_CARD for what is no such list, or names a file elsewhere
 */
export function partsOfIndex(text: string, file: string, repository: string): string[] {
  const index = ConfigFields.parse(text, `${file} of ${repository}`);
  const parts = [...new Set(Object.values(index.inside('weight_map').fields))].sort(); // eslint-disable-line @typescript-eslint/require-array-sort-compare -- what is no name is refused below
  const folder = file.slice(0, file.lastIndexOf('/') + 1);
  const ending = file.endsWith('.bin.index.json') ? '.bin' : '.safetensors';
  const names = parts.map((part) => {
    if (typeof part !== 'string' || part.includes('/') || !isFileInside(part) || !part.endsWith(ending)) {
      throw new SightlineError(
        'INVALID_CARD',
        `${index.name} names ${JSON.stringify(part)}, which is no ${ending} file beside it.`,
      );
    }
    return folder + part;
  });
  if (names.length === 0) throw new SightlineError('INVALID_CARD', `${index.name} names no files at weight_map.`);
  return names;
}
