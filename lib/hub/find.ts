import { readFile, stat } from 'node:fs/promises';

import { SightlineError } from '../support/errors.js';
import { CachedRepository } from './cache.js';
import { cacheFolder } from './environment.js';
import type { PulledCard } from './pulled-card.js';
import { CONFIG, PREPROCESSOR, WEIGHTS, WEIGHTS_INDEX, cardOfRepository } from './repository-card.js';
import { seek, type Catalog, type Sought } from './sought.js';
import { isIndex, partsOfIndex } from './weights-index.js';

/** A model that is on this machine. */
export interface PulledModel {
  /** The model's card. */
  /** The card that was made of the repository's configuration. */
  readonly card: PulledCard;
  /** Absolute paths of the safetensors files, in the order in which an index names them. */
  readonly files: readonly string[];
  /** The commit of the repository that they are of. */
  readonly commit: string;
}

/**
 * The model of a name (of the catalog, or `org/name`), if it is in the hub's cache, whoever brought it there: sightline
 * or Python's huggingface_hub. Looks at nothing but the cache, and hashes nothing.
 *
 * @param options.revision branch, tag or commit; default the catalog's, else `main`
 * @returns null where it is not here, or not wholly, or the name is neither
 * @throws SightlineError UNSUPPORTED_MODEL and INVALID_CARD for a repository that is here and cannot be loaded;
 * INVALID_OPTION for a revision that is none
 */
export async function findPulledIn(catalog: Catalog, nameOrRepository: string, options: { readonly revision?: string | undefined } = {}): Promise<PulledModel | null> {
  const sought = await seek(nameOrRepository, options.revision, catalog).catch((error: unknown) => {
    // What stands for nothing was not pulled either.
    if (error instanceof SightlineError && error.code === 'UNKNOWN_MODEL') return null;
    throw error;
  });
  return sought === null ? null : findSought(new CachedRepository(cacheFolder(), sought.repository), sought);
}

/** The same, for a name that was looked up already. */
export async function findSought(cached: CachedRepository, sought: Sought): Promise<PulledModel | null> {
  const current = await cached.commitOf(sought.revision);
  // A file of the catalog's hash is the right one in whatever commit it is found.
  const others = sought.card?.weights.sha256 === undefined ? [] : await cached.commits();
  for (const commit of new Set([...(current === null ? [] : [current]), ...others])) {
    const found = sought.card === null ? await findRepository(cached, sought, commit) : await findCataloged(cached, sought.card, commit);
    if (found !== null) return { ...found, commit };
  }
  return null;
}

async function findCataloged(cached: CachedRepository, card: PulledCard, commit: string): Promise<Omit<PulledModel, 'commit'> | null> {
  const { file, sha256, bytes } = card.weights;
  const files = await weightsOf(cached, commit, file);
  if (files === null) return null;
  if (sha256 !== undefined && !isIndex(file)) {
    const blob = await cached.blobNameOf(files[0]!);
    if (blob?.length === 64 && blob !== sha256) return null;
    // A copy has no name to tell by; its length at least must do (a card's is that of the numbers, without the header).
    if (blob?.length !== 64 && bytes !== undefined && (await stat(files[0]!)).size < bytes) return null;
  }
  return { card, files };
}

async function findRepository(cached: CachedRepository, { repository, revision }: Sought, commit: string): Promise<Omit<PulledModel, 'commit'> | null> {
  const config = await contentsOf(cached, commit, CONFIG);
  if (config === null) return null;
  for (const weights of [WEIGHTS, WEIGHTS_INDEX]) {
    const files = await weightsOf(cached, commit, weights);
    if (files === null) continue;
    const preprocessor = await contentsOf(cached, commit, PREPROCESSOR);
    return { card: await cardOfRepository({ repository, revision, config, preprocessor, weights }), files };
  }
  return null;
}

/** The safetensors files that a weights' file stands for, or null unless all of them are here. */
async function weightsOf(cached: CachedRepository, commit: string, file: string): Promise<string[] | null> {
  const found = await cached.find(commit, file);
  if (found === null) return null;
  if (!isIndex(file)) return [found];
  const parts = await Promise.all(partsOfIndex(await readFile(found, 'utf8'), file, cached.repository).map((part) => cached.find(commit, part)));
  return parts.every((part) => part !== null) ? parts : null;
}

async function contentsOf(cached: CachedRepository, commit: string, file: string): Promise<string | null> {
  const found = await cached.find(commit, file);
  return found === null ? null : readFile(found, 'utf8');
}
