import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';

import { SightlineError } from '../support/errors.js';
import { findPulled } from '../hub/index.js';
import { isRepository } from '../hub/names.js';
import type { WeightPlan } from '../engine/weight-plan.js';
import { planWeights } from '../weights/plan.js';
import { readHeader } from '../weights/safetensors.js';
import { bundledModels, isArchiveName, isCheckpointName, resolveModel } from '../models/bundled.js';
import { readCardFor, verifyHash, type ModelCard, type ModelWeights } from '../models/card.js';
import { architectures, catalogued, skeletonOf } from '../models/catalogue.js';

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

/**
 * Finds what a user means: the name of a bundled model, a name of the catalogue or `org/name` that was pulled, the path of a
 * safetensors checkpoint whose card names its architecture, or the path of an archive. Never looks at the network.
 *
 * @param given the user's own card, which says more than any other
 * @throws SightlineError UNKNOWN_MODEL, NOT_PULLED, FILE_NOT_FOUND, NOT_A_FILE, INVALID_CARD, INVALID_WEIGHTS, UNSUPPORTED_MODEL
 */
export async function locateModel(nameOrPath: string, given: ModelCard | null): Promise<LocatedModel> {
  if (isCheckpointName(nameOrPath)) return ofCheckpoint(nameOrPath, given);
  if (!(await bundledModels()).includes(nameOrPath)) {
    const card = await catalogued(nameOrPath);
    if (card !== null || (isRepository(nameOrPath) && !isFileName(nameOrPath) && !(await exists(nameOrPath)))) return ofPulled(nameOrPath, card?.weights ?? null, given);
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
  if (!(await exists(path))) throw new SightlineError('FILE_NOT_FOUND', `There is no file ${path}; give the path of a safetensors checkpoint.`);
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

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
