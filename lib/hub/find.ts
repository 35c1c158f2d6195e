import { readFile, stat } from 'node:fs/promises';

import { SightlineError } from '../support/errors.js';
import { CachedRepository } from './cache.js';
import { cacheFolder } from './environment.js';
import type { PulledCard } from './pulled-card.js';
import { ALL_WEIGHTS, CONFIG, PREPROCESSOR, cardOfRepository } from './repository-card.js';
import { resolveName, type Catalog, type ResolvedName } from './resolve-name.js';
import { isIndex, partsOfIndex } from './weights-index.js';

/** A model that is on this machine. */
export interface PulledModel {
  /** The card that was made of the repository's configuration. */
  readonly card: PulledCard;
  /** Absolute paths of the weights' files, in the order in which an index names them. */
  readonly files: readonly string[];
  /** The commit of the repository that they are of. */
  readonly commit: string;
}

/**
 * The model of a name (of the catalog, or `org/name`), if it is in the hub's cache, whoever brought it there: sightline
 * or Python's huggingface_hub. Looks at nothing but the cache, and hashes nothing.
 *
 * @param options.revision branch, tag or commit; default that of `name@revision`, the catalog's, else `main`
 * @returns null where it is not here, or not wholly, or the name is neither
 * @throws SightlineError UNSUPPORTED_MODEL and INVALID_CARD for a repository that is here and cannot be loaded;
 * INVALID_OPTION for a revision that is none
 */
export async function findPulledIn(
  catalog: Catalog,
  nameOrRepository: string,
  options: { readonly revision?: string | undefined } = {},
): Promise<PulledModel | null> {
  const resolved = await resolveName(nameOrRepository, options.revision, catalog).catch((error: unknown) => {
    // What stands for nothing was not pulled either.
    if (error instanceof SightlineError && error.code === 'UNKNOWN_MODEL') return null;
    throw error;
  });
  return resolved === null ? null : findResolved(new CachedRepository(cacheFolder(), resolved.repository), resolved);
}

/** The same, for a name that was looked up already. */
export async function findResolved(cached: CachedRepository, resolved: ResolvedName): Promise<PulledModel | null> {
  const current = (await cached.commitOf(resolved.revision)) ?? (await onlyCommit(cached, resolved));
  // A file of the catalog's hash is the right one in whatever commit it is found.
  const others = resolved.card?.weights.sha256 === undefined ? [] : await cached.commits();
  for (const commit of new Set([...(current === null ? [] : [current]), ...others])) {
    const found =
      resolved.card === null
        ? await findRepository(cached, resolved, commit)
        : await findCataloged(cached, resolved.card, commit);
    if (found !== null) return { ...found, commit };
  }
  return null;
}

/**
 * The one commit that is here of a repository whose branches are not: Python pins a cache so (`revision=COMMIT`). Of
 * several none is meant, since one of them may be an old one.
 */
async function onlyCommit(cached: CachedRepository, { isDefault }: ResolvedName): Promise<string | null> {
  const commits = isDefault ? await cached.commits() : [];
  return commits.length === 1 ? commits[0]! : null;
}

async function findCataloged(
  cached: CachedRepository,
  card: PulledCard,
  commit: string,
): Promise<Omit<PulledModel, 'commit'> | null> {
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

async function findRepository(
  cached: CachedRepository,
  { repository, revision }: ResolvedName,
  commit: string,
): Promise<Omit<PulledModel, 'commit'> | null> {
  const config = await contentsOf(cached, commit, CONFIG);
  if (config === null) return null;
  for (const weights of ALL_WEIGHTS) {
    const files = await weightsOf(cached, commit, weights);
    if (files === null) continue;
    const preprocessor = await contentsOf(cached, commit, PREPROCESSOR);
    return { card: await cardOfRepository({ repository, revision, config, preprocessor, weights }), files };
  }
  return null;
}

/** The files that a weights' file stands for, or null unless all of them are here. */
async function weightsOf(cached: CachedRepository, commit: string, file: string): Promise<string[] | null> {
  const found = await cached.find(commit, file);
  if (found === null) return null;
  if (!isIndex(file)) return [found];
  const parts = await Promise.all(
    partsOfIndex(await readFile(found, 'utf8'), file, cached.repository).map((part) => cached.find(commit, part)),
  );
  return parts.every((part) => part !== null) ? parts : null;
}

async function contentsOf(cached: CachedRepository, commit: string, file: string): Promise<string | null> {
  const found = await cached.find(commit, file);
  return found === null ? null : readFile(found, 'utf8');
}
