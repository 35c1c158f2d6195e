import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { parseCard, type ModelCard } from './card.js';
import { BUNDLED_MODELS } from './labels.js';

/** The ending of a file of weights without a graph. */
export const CHECKPOINT = '.safetensors';

/** The model that the command line takes where none is named: it knows the 1000 kinds of things of ImageNet. */
export const DEFAULT_MODEL = 'efficientnet-lite0';

/**
 * The names of the models that ship: every `NAME.json` of the folder that has its `NAME.pt` or `NAME.safetensors`
 * beside it, sorted.
 *
 * @param folder for tests; default the package's `models/`
 */
export async function bundledNames(folder: string = BUNDLED_MODELS): Promise<string[]> {
  let files: Set<string>;
  try {
    files = new Set(await readdir(folder));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw cause;
  }
  return [...files]
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .filter((name) => files.has(`${name}.pt`) || files.has(`${name}${CHECKPOINT}`))
    .sort();
}

/**
 * The cards of the models that ship with sightline, sorted by name: what `Model.load` takes without a download.
 *
 * @throws SightlineError INVALID_CARD where the package is damaged
 */
export async function bundledModels(): Promise<ModelCard[]> {
  const paths = (await bundledNames()).map((name) => join(BUNDLED_MODELS, `${name}.json`));
  return Promise.all(paths.map(async (path) => parseCard(await readFile(path, 'utf8'), path)));
}
