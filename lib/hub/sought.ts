import { SightlineError } from '../support/errors.js';
import { suggestion } from '../support/nearest.js';
import { checkRevision, isRepository } from './names.js';
import type { PulledCard } from './pulled-card.js';

/** The cards that ship with sightline, as `lib/models/catalog.ts` gives them. */
export interface Catalog {
  catalog(): Promise<readonly PulledCard[]>;
  cataloged(name: string): Promise<PulledCard | null>;
}

/** What a user's name stands for. */
export interface Sought {
  readonly name: string;
  readonly repository: string;
  readonly revision: string;
  /** The catalog's; null for a repository whose own files tell. */
  readonly card: PulledCard | null;
}

/**
 * Finds what a name stands for: one of the catalog, or `org/name` on the hub.
 *
 * @throws SightlineError UNKNOWN_MODEL for neither, INVALID_OPTION for a revision that is none
 */
export async function seek(name: string, revision: string | undefined, catalog: Catalog): Promise<Sought> {
  if (revision !== undefined) checkRevision(revision);
  const card = await catalog.cataloged(name);
  if (card === null) {
    if (isRepository(name)) return { name, repository: name, revision: revision ?? 'main', card: null };
    const hint = await suggestionsFor(name, catalog);
    throw new SightlineError('UNKNOWN_MODEL', `There is no model "${name}" in the catalog, and it is no repository of the form org/name.${hint === '' ? '' : ` ${hint}`}`);
  }
  const { weights } = card;
  if (revision === undefined || revision === weights.revision) return { name, repository: weights.repository, revision: weights.revision, card };
  // What the catalog knows of the file holds for its own revision only.
  const { sha256: _, bytes: __, ...elsewhere } = weights;
  return { name, repository: weights.repository, revision, card: { ...card, weights: { ...elsewhere, revision } } };
}

/** "Did you mean ...?" for a name that was not found, from the catalog's names; empty where none is near. */
export async function suggestionsFor(name: string, catalog: Catalog): Promise<string> {
  const names = (await catalog.catalog()).map((card) => card.name);
  return suggestion(name.split('/').at(-1)!, names);
}
