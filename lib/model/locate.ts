import { readFile, stat } from 'node:fs/promises';
import { extname, join, resolve, sep } from 'node:path';

import { SightlineError } from '../support/errors.js';
import { isMissing, unreadable } from '../support/files.js';
import { findPulled } from '../hub/index.js';
import { isRepository } from '../hub/names.js';
import type { WeightPlan } from '../engine/weight-plan.js';
import { planWeights } from '../weights/plan.js';
import { readHeader } from '../weights/safetensors.js';
import { bundledNames, CHECKPOINT } from '../models/bundled.js';
import { parseCard, readCardFor, verifyHash, type ModelCard, type ModelWeights } from '../models/card.js';
import { architectures, cataloged, catalogNames, skeletonOf } from '../models/catalog.js';
import { BUNDLED_MODELS } from '../models/labels.js';
import { suggestion } from '../support/nearest.js';

/** A model on this machine: a graph, and its weights where they lie apart. */
export interface LocatedModel {
  /** The file that messages name: the archive, or the checkpoint's first file. Absolute. */
  readonly path: string;
  /** Absolute path of the TorchScript archive that holds the graph. */
  readonly archive: string;
  readonly card: ModelCard | null;
  /** Null where the archive holds its weights itself. */
  readonly weights: WeightPlan | null;
  /** Whether the archive came with the package. */
  readonly bundled: boolean;
  /** What the archive's hash must be, where that is known. */
  readonly sha256: string | undefined;
}

/** A file on disk with what is known about it. */
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
 * Finds what a user means: the name of a bundled model, a name of the catalog or `org/name` that was pulled, the path of a
 * safetensors checkpoint whose card names its architecture, or the path of an archive. Never looks at the network.
 *
 * @param givenCard the user's own card or its path; it says more than any other
 * @throws SightlineError UNKNOWN_MODEL, NOT_PULLED, FILE_NOT_FOUND, NOT_A_FILE, INVALID_CARD, INVALID_WEIGHTS, UNSUPPORTED_MODEL
 */
export async function locateModel(nameOrPath: string, givenCard?: string | ModelCard | null): Promise<LocatedModel> {
  const given = await readGivenCard(givenCard);
  if (isCheckpointName(nameOrPath)) return ofCheckpoint(nameOrPath, given);
  if (!(await bundledNames()).includes(nameOrPath)) {
    const card = await cataloged(nameOrPath);
    if (card !== null || (isRepository(nameOrPath) && !isFileName(nameOrPath) && (await kindOf(nameOrPath)) === 'missing')) return ofPulled(nameOrPath, card?.weights ?? null, given);
  }
  const { archive, card: beside, bundled } = await resolveModel(nameOrPath);
  // A card of the user's own need not say what the weights are for.
  if (isCheckpointName(archive)) return ofCheckpoint(archive, given && { architecture: beside!.architecture, sha256: beside!.sha256, ...given });
  const card = given ?? beside;
  return { path: archive, archive, card, weights: null, bundled, sha256: card?.sha256 };
}

async function ofPulled(name: string, weights: ModelWeights | null, given: ModelCard | null): Promise<LocatedModel> {
  const pulled = await findPulled(name);
  if (pulled === null) {
    const size = weights?.bytes === undefined ? '' : ` (${Math.round(weights.bytes / 1e6)} MB)`;
    throw new SightlineError('NOT_PULLED', `${name} is not on this machine; run \`sightline pull ${name}\`${size}.`);
  }
  const { card, files } = pulled;
  return filled(files, card.architecture, given ?? card, card.weights);
}

async function ofCheckpoint(path: string, given: ModelCard | null): Promise<LocatedModel> {
  if ((await kindOf(path)) === 'missing') throw new SightlineError('FILE_NOT_FOUND', `There is no file ${path}; give the path of a safetensors checkpoint.`);
  const card = given ?? (await readCardFor(resolve(path)))?.card ?? null;
  if (card?.architecture === undefined) {
    throw new SightlineError(
      'INVALID_CARD',
      `${path} is a checkpoint, numbers without a graph: give a card that says which "architecture" they are for, one of ${(await architectures()).join(', ')}.`,
    );
  }
  await verifyHash(resolve(path), card);
  return filled([resolve(path)], card.architecture, card, card.weights ?? null);
}

async function filled(files: readonly string[], architecture: string, card: ModelCard, weights: Pick<ModelWeights, 'naming' | 'layerNormEps'> | null): Promise<LocatedModel> {
  const skeleton = await skeletonOf(architecture);
  const headers = await Promise.all(files.map((file, i) => readHeader(file, i)));
  const plan = planWeights(skeleton.card, files, headers, weights?.naming ?? 'auto', { layerNormEps: weights?.layerNormEps });
  return { path: files[0]!, archive: skeleton.archive, card, weights: plan, bundled: true, sha256: skeleton.card.sha256 };
}

/** Endings that files of models have, and names of repositories do not: `me/resnet.onnx` is a path. */
const ENDINGS = /\.(?:ptl|onnx|bin|ckpt|tar|gz|h5|keras|tflite|pb|npz?|json|gguf|engine)$/i;

function isFileName(name: string): boolean {
  return isArchiveName(name) || ENDINGS.test(name);
}

/**
 * Finds the archive that a user means: a path, or the name of a bundled model. What looks like a path (it has a
 * separator or an extension such as `.pt`) is only ever a path; a plain word is a bundled name first, then a file.
 *
 * @throws SightlineError UNKNOWN_MODEL with the nearest names, FILE_NOT_FOUND or NOT_A_FILE for a path, INVALID_CARD.
 */
export async function resolveModel(nameOrPath: string, folder: string = BUNDLED_MODELS): Promise<ResolvedModel> {
  const looksLikePath = nameOrPath.includes('/') || nameOrPath.includes(sep) || isArchiveName(nameOrPath);
  const names = looksLikePath ? [] : await bundledNames(folder);
  if (names.includes(nameOrPath)) {
    const archive = join(folder, `${nameOrPath}.pt`);
    return withCard((await kindOf(archive)) === 'file' ? archive : join(folder, `${nameOrPath}${CHECKPOINT}`), true);
  }

  const kind = await kindOf(nameOrPath);
  if (kind === 'file') return withCard(resolve(nameOrPath), false);
  if (kind === 'missing' && !looksLikePath) {
    const known = [...names, ...(await catalogNames(folder))];
    const hint = suggestion(nameOrPath, known);
    throw new SightlineError('UNKNOWN_MODEL', `There is no model "${nameOrPath}", neither bundled, nor in the catalog, nor as a file.${hint === '' ? '' : ` ${hint}`}`, {
      details: { known },
    });
  }
  if (kind === 'missing') throw new SightlineError('FILE_NOT_FOUND', `There is no file ${nameOrPath}; give the path of a TorchScript archive.`);
  throw new SightlineError('NOT_A_FILE', `${nameOrPath} is ${kind === 'directory' ? 'a directory' : 'not a regular file'}; give the path of a TorchScript archive.`);
}

/** Whether it is a file of weights without a graph. */
function isCheckpointName(name: string): boolean {
  return extname(name).toLowerCase() === CHECKPOINT;
}

/** Whether it ends as archives do, so that it can be nothing but a path. */
function isArchiveName(name: string): boolean {
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
    if (isMissing(cause)) return 'missing';
    throw unreadable(path, cause);
  }
}

async function readGivenCard(given: string | ModelCard | null | undefined): Promise<ModelCard | null> {
  if (given === undefined || given === null) return null;
  if (typeof given !== 'string') return parseCard(given, 'given to Model.load');
  let text: string;
  try {
    text = await readFile(given, 'utf8');
  } catch (cause) {
    throw unreadable(given, cause, 'give the path of a model card, or the card itself');
  }
  return parseCard(text, given);
}
