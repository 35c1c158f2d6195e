import { pullFrom, type Pulled, type PullOptions } from '../hub/pull.js';
import type { PulledCard } from '../hub/pulled-card.js';
import * as packaged from '../models/catalog.js';
import { planWeights } from '../weights/plan.js';
import { readCheckpointFiles } from './checkpoint-files.js';

/**
 * Brings a model's weights from the hub into the hub's own cache, which Python's huggingface_hub shares: see
 * docs/pull.md. Files that are there are not fetched again. A part of one is completed. Nothing gets its name before
 * its hash is right.
 *
 * @param nameOrRepository a name of the catalog, or any `org/name` whose `config.json` names a supported architecture;
 * `name@revision` for another branch, tag or commit
 * @throws SightlineError UNKNOWN_MODEL, UNSUPPORTED_MODEL, INVALID_CARD, INVALID_OPTION, INVALID_WEIGHTS,
 * HUB_UNREACHABLE, HUB_REFUSED, WRONG_HASH, DISK_FULL, CACHE_NOT_WRITABLE, NOT_PULLED (offline and not here), ABORTED,
 * FILE_NOT_FOUND and NOT_A_FILE of `fromFile`
 */
export function pull(nameOrRepository: string, options: PullOptions = {}): Promise<Pulled> {
  return pullFrom(packaged, nameOrRepository, options, undefined, requireFit);
}

/** Weights that cannot be loaded are refused while they are fetched or placed, and not when they are used. */
async function requireFit({ architecture, weights }: PulledCard, files: readonly string[]): Promise<void> {
  const { headers } = await readCheckpointFiles(files);
  planWeights((await packaged.skeletonOf(architecture)).card, files, headers, weights.naming);
}
