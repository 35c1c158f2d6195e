import { readFile, stat } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';

import { SightlineError } from '../support/errors.js';
import { isMissing, unreadable } from '../support/files.js';
import { findPulled } from '../hub/index.js';
import { isRepository, joinRevision, splitRevision } from '../hub/names.js';
import type { ImageSizes } from '../archives/exported/sizes.js';
import type { WeightPlan } from '../engine/weight-plan.js';
import { planWeights } from '../weights/plan.js';
import { findArchitecture } from '../weights/architecture.js';
import { bundledNames } from '../models/bundled.js';
import { parseCard, readCardFor, type ModelCard, type ModelWeights } from '../models/card.js';
import { verifyHash } from '../models/file-hash.js';
import { cataloged, catalogNames, skeletonOf, type SkeletonCard } from '../models/catalog.js';
import { BUNDLED_MODELS } from '../models/labels.js';
import { savedFormOf } from '../archives/saved-form.js';
import { suggestion } from '../support/nearest.js';
import { isSafetensors, readCheckpointFiles } from './checkpoint-files.js';

/** A model on this machine: a graph, and its weights where they lie apart. */
export interface LocatedModel {
  /** The file that messages name: the archive, or the checkpoint's first file. Absolute. */
  readonly path: string;
  /** Absolute path of the file that holds the graph. */
  readonly archive: string;
  /** Whether that is a program of torch.export, and not a TorchScript archive. */
  readonly isProgram: boolean;
  readonly card: ModelCard | null;
  /** Null where the archive holds its weights itself. */
  readonly weights: WeightPlan | null;
  /** Whether the archive came with the package. */
  readonly bundled: boolean;
  /** What the archive's hash must be, where that is known. */
  readonly sha256: string | undefined;
  /** What was assumed or chosen, as sentences for the user. */
  readonly notes: readonly string[];
  /** Which images a skeleton is for; null where its graph takes any, and where the archive is to tell. */
  readonly sizes: ImageSizes | null;
  /** Compares the numbers of a checkpoint with their checksums, where its form has any. */
  readonly verify: (() => Promise<void>) | null;
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
 * Finds what a user means: the name of a bundled model, a name of the catalog or `org/name` that was pulled (either
 * with `@revision`), the path of a checkpoint (safetensors, or of torch.save), or that of an archive. Never looks at
 * the network.
 *
 * @param revision of what was pulled, where it is not in the name
 * @param givenCard the user's own card or its path; it says more than any other
 * @throws SightlineError UNKNOWN_MODEL, NOT_PULLED, FILE_NOT_FOUND, NOT_A_FILE, INVALID_CARD, INVALID_WEIGHTS,
 * INVALID_OPTION, UNSUPPORTED_MODEL
 */
export async function locateModel(
  nameOrPath: string,
  givenCard?: string | ModelCard | null,
  revision?: string,
): Promise<LocatedModel> {
  const given = await readGivenCard(givenCard);
  const isBundled = (await bundledNames()).includes(nameOrPath);
  if (!isBundled && !isSafetensors(nameOrPath)) {
    const { name } = splitRevision(nameOrPath);
    const card = await cataloged(name);
    if (card !== null || (isRepository(name) && !isFileName(name) && (await kindOf(nameOrPath)) === 'missing')) {
      return ofPulled(nameOrPath, revision, card?.weights ?? null, given);
    }
  }
  if (revision !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${nameOrPath} is ${isBundled ? 'a bundled model' : 'a file'}, which has no revisions; leave \`revision\` out.`,
    );
  }
  if (isSafetensors(nameOrPath)) return ofCheckpoint(nameOrPath, given);
  const { archive, card: beside, bundled } = await resolveModel(nameOrPath);
  // A card of the user's own need not say what the weights are for.
  if (bundled && isSafetensors(archive)) {
    return ofCheckpoint(archive, given && { architecture: beside!.architecture, sha256: beside!.sha256, ...given });
  }
  const form = isSafetensors(archive) ? 'checkpoint' : await savedFormOf(archive);
  if (form !== 'other' && form !== 'program') return ofCheckpoint(archive, given);
  const card = given ?? beside;
  return {
    path: archive,
    archive,
    isProgram: form === 'program',
    card,
    weights: null,
    bundled,
    sha256: card?.sha256,
    notes: [],
    sizes: null,
    verify: null,
  };
}

async function ofPulled(
  name: string,
  revision: string | undefined,
  weights: ModelWeights | null,
  given: ModelCard | null,
): Promise<LocatedModel> {
  const pulled = await findPulled(name, { revision });
  if (pulled === null) {
    const asked = name.includes('@') ? name : joinRevision(name, revision);
    const size = weights?.bytes === undefined ? '' : ` (${Math.round(weights.bytes / 1e6)} MB)`;
    throw new SightlineError('NOT_PULLED', `${asked} is not on this machine; run \`sightline pull ${asked}\`${size}.`);
  }
  const { card, files } = pulled;
  return filled(files, card.architecture, given ?? card, card.weights);
}

async function ofCheckpoint(path: string, given: ModelCard | null): Promise<LocatedModel> {
  if ((await kindOf(path)) === 'missing') {
    throw new SightlineError('FILE_NOT_FOUND', `There is no file ${path}; give the path of a checkpoint.`);
  }
  const card = given ?? (await readCardFor(resolve(path)))?.card ?? null;
  if (card !== null) await verifyHash(resolve(path), card);
  return filled([resolve(path)], card?.architecture ?? null, card, card?.weights ?? null);
}

/** @param given the architecture; null where the tensors are to tell */
async function filled(
  paths: readonly string[],
  given: string | null,
  card: ModelCard | null,
  weights: Pick<ModelWeights, 'naming' | 'layerNormEps'> | null,
): Promise<LocatedModel> {
  const { files, headers, notes, verify } = await readCheckpointFiles(paths);
  const naming = weights?.naming ?? 'auto';
  const layerNormEps = weights?.layerNormEps;
  const found = given === null ? await findArchitecture(files, headers, naming, layerNormEps) : null;
  const skeleton = await skeletonOf(given ?? found!.architecture);
  const plan = planWeights(skeleton.card, files, headers, naming, { layerNormEps });
  return {
    path: files[0]!,
    archive: skeleton.archive,
    isProgram: false,
    card,
    weights: plan,
    bundled: true,
    sha256: skeleton.card.sha256,
    notes: [...notes, ...(found?.notes ?? [])],
    sizes: sizesOf(skeleton.card),
    // A hash has told already.
    verify: card?.sha256 === undefined ? verify : null,
  };
}

/** At any other size such a graph would answer, and be wrong. */
function sizesOf({ size, fixedSize }: SkeletonCard): ImageSizes | null {
  if (fixedSize !== true) return null;
  return {
    height: size,
    width: size,
    channels: 3,
    isChannelsLast: false,
    batch: null,
    refusal: (height, width) => (height === size && width === size ? null : `images of ${size} x ${size} pixels alone`),
    remedy: 'export the model for others with models/export.py',
  };
}

/** Endings that files of models have, and names of repositories do not: `me/resnet.onnx` is a path. */
const ENDINGS = /\.(?:ptl|onnx|bin|ckpt|tar|gz|h5|keras|tflite|pb|npz?|json|gguf|engine)$/i;

/** Whether it ends as files of models do. */
export function isFileName(name: string): boolean {
  return isArchiveName(name) || isSafetensors(name) || ENDINGS.test(name);
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
    return withCard((await kindOf(archive)) === 'file' ? archive : join(folder, `${nameOrPath}.safetensors`), true);
  }

  const kind = await kindOf(nameOrPath);
  if (kind === 'file') return withCard(resolve(nameOrPath), false);
  if (kind === 'missing' && !looksLikePath) {
    const known = [...names, ...(await catalogNames(folder))];
    const hint = suggestion(nameOrPath, known);
    throw new SightlineError(
      'UNKNOWN_MODEL',
      `There is no model "${nameOrPath}", neither bundled, nor in the catalog, nor as a file.${hint === '' ? '' : ` ${hint}`}`,
      {
        details: { known },
      },
    );
  }
  if (kind === 'missing') {
    throw new SightlineError(
      'FILE_NOT_FOUND',
      `There is no file ${nameOrPath}; give the path of a TorchScript archive.`,
    );
  }
  throw new SightlineError(
    'NOT_A_FILE',
    `${nameOrPath} is ${kind === 'directory' ? 'a directory' : 'not a regular file'}; give the path of a TorchScript archive.`,
  );
}

/** Whether it ends as archives do, so that it can be nothing but a path. */
function isArchiveName(name: string): boolean {
  return /\.(pt|pt2|pth|ts|jit|zip|torchscript)$/i.test(name);
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
