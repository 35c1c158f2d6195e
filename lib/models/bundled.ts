import { readdir, stat } from 'node:fs/promises';
import { extname, join, resolve, sep } from 'node:path';

import { SightlineError } from '../support/errors.js';
import { readCardFor, type ModelCard } from './card.js';
import { catalogueNames } from './catalogue.js';
import { BUNDLED_MODELS } from './labels.js';
import { suggestion } from '../support/nearest.js';

const CHECKPOINT = '.safetensors';

/** What is explained where no model is named: it knows the 1000 kinds of things of ImageNet. */
export const DEFAULT_MODEL = 'efficientnet-lite0';

/** A model on disk with what is known about it. */
export interface ResolvedModel {
  /** Absolute path of the TorchScript archive; of a bundled model that is a skeleton's weights, of these. */
  readonly archive: string;
  /** The card beside it, null where there is none. */
  readonly card: ModelCard | null;
  /** Path of that card. */
  readonly cardPath: string | null;
  /** Whether it came with the package. */
  readonly bundled: boolean;
}

/**
 * The names of the models that ship: every `NAME.json` of the folder that has its `NAME.pt` or `NAME.safetensors`
 * beside it, sorted.
 *
 * @param folder for tests; default the package's `models/`
 */
export async function bundledModels(folder: string = BUNDLED_MODELS): Promise<string[]> {
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
 * Finds the archive that a user means: a path, or the name of a bundled model. What looks like a path (it has a
 * separator or an extension such as `.pt`) is only ever a path; a plain word is a bundled name first, then a file.
 *
 * @throws SightlineError UNKNOWN_MODEL with the nearest names, FILE_NOT_FOUND or NOT_A_FILE for a path, INVALID_CARD.
 */
export async function resolveModel(nameOrPath: string, folder: string = BUNDLED_MODELS): Promise<ResolvedModel> {
  const looksLikePath = nameOrPath.includes('/') || nameOrPath.includes(sep) || isArchiveName(nameOrPath);
  const names = looksLikePath ? [] : await bundledModels(folder);
  if (names.includes(nameOrPath)) {
    const archive = join(folder, `${nameOrPath}.pt`);
    return withCard((await kindOf(archive)) === 'file' ? archive : join(folder, `${nameOrPath}${CHECKPOINT}`), true);
  }

  const kind = await kindOf(nameOrPath);
  if (kind === 'file') return withCard(resolve(nameOrPath), false);
  if (kind === 'missing' && !looksLikePath) {
    const known = [...names, ...(await catalogueNames(folder))];
    const hint = suggestion(nameOrPath, known);
    throw new SightlineError('UNKNOWN_MODEL', `There is no model "${nameOrPath}", neither bundled, nor in the catalogue, nor as a file.${hint === '' ? '' : ` ${hint}`}`, {
      details: { known },
    });
  }
  if (kind === 'missing') throw new SightlineError('FILE_NOT_FOUND', `There is no file ${nameOrPath}; give the path of a TorchScript archive.`);
  throw new SightlineError('NOT_A_FILE', `${nameOrPath} is ${kind === 'directory' ? 'a directory' : 'not a regular file'}; give the path of a TorchScript archive.`);
}

/** Whether it is a file of weights without a graph. */
export function isCheckpointName(name: string): boolean {
  return extname(name).toLowerCase() === CHECKPOINT;
}

/** Whether it ends as archives do, so that it can be nothing but a path. */
export function isArchiveName(name: string): boolean {
  return /\.(pt|pth|ts|jit|zip|torchscript)$/i.test(name);
}

async function withCard(archive: string, bundled: boolean): Promise<ResolvedModel> {
  const found = await readCardFor(archive);
  return { archive, card: found?.card ?? null, cardPath: found?.from ?? null, bundled };
}

async function kindOf(path: string): Promise<'file' | 'directory' | 'other' | 'missing'> {
  try {
    const found = await stat(path);
    return found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other';
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'missing';
    throw new SightlineError('FILE_NOT_FOUND', `${path} cannot be read: ${(cause as Error).message}.`, { cause });
  }
}
