import * as packaged from '../models/catalog.js';
import { findPulledIn, type PulledModel } from './find.js';

export type { PulledModel } from './find.js';
export type { Pulled, PullOptions, PullProgress } from './pull.js';
export type { PulledCard } from './pulled-card.js';

/** `findPulledIn` with the catalog that ships with sightline. */
export function findPulled(
  nameOrRepository: string,
  options: { readonly revision?: string | undefined } = {},
): Promise<PulledModel | null> {
  return findPulledIn(packaged, nameOrRepository, options);
}
