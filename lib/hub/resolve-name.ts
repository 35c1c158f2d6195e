import { SightlineError } from '../support/errors.js';
import { suggestion } from '../support/nearest.js';
import { checkRevision, isRepository, joinRevision, splitRevision } from './names.js';
import type { PulledCard } from './pulled-card.js';

/** The cards that ship with sightline, as `lib/models/catalog.ts` gives them. */
export interface Catalog {
  catalog(): Promise<readonly PulledCard[]>;
  cataloged(name: string): Promise<PulledCard | null>;
}

/** What a user's name stands for. */
export interface ResolvedName {
  /** As `Model.load` takes it: with the revision, where one was asked for. */
  readonly name: string;
  readonly repository: string;
  readonly revision: string;
  /** Whether the revision was not asked for. */
  readonly isDefault: boolean;
  /** The catalog's; null for a repository whose own files tell. */
  readonly card: PulledCard | null;
}

/**
 * Finds what a name stands for: one of the catalog, or `org/name` on the hub, either with `@revision`.
 *
 * @param asked the revision, where it is not in the name
 * @throws SightlineError UNKNOWN_MODEL for neither, INVALID_OPTION for a revision that is none
 */
export async function resolveName(given: string, asked: string | undefined, catalog: Catalog): Promise<ResolvedName> {
  const { name: bare, revision: written } = splitRevision(given);
  if (asked !== undefined && written !== undefined && asked !== written) {
    throw new SightlineError('INVALID_OPTION', `${given} names another revision than ${asked}; give one of them.`);
  }
  const revision = asked ?? written;
  if (revision !== undefined) checkRevision(revision);
  const name = joinRevision(bare, revision);
  const isDefault = revision === undefined;
  const card = await catalog.cataloged(bare);
  if (card === null) {
    if (isRepository(bare)) {
      return { name, repository: bare, revision: revision ?? 'main', isDefault, card: null };
    }
    const hint = await suggestionsFor(bare, catalog);
    throw new SightlineError(
      'UNKNOWN_MODEL',
      `There is no model "${bare}" in the catalog, and it is no repository of the form org/name.${hint === '' ? '' : ` ${hint}`}`,
    );
  }
  const { weights } = card;
  if (revision === undefined || revision === weights.revision) {
    return { name, repository: weights.repository, revision: weights.revision, isDefault, card };
  }
  // What the catalog knows of the file holds for its own revision only.
  const { sha256: _, bytes: __, ...elsewhere } = weights;
  return {
    name,
    repository: weights.repository,
    revision,
    isDefault,
    card: { ...card, weights: { ...elsewhere, revision } },
  };
}

/** "Did you mean ...?" for a name that was not found, from the catalog's names; empty where none is near. */
export async function suggestionsFor(name: string, catalog: Catalog): Promise<string> {
  const names = (await catalog.catalog()).map((card) => card.name);
  return suggestion(splitRevision(name).name.split('/').at(-1)!, names);
}
