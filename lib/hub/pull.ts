import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';

import { abortedBy } from '../support/abort.js';
import { SightlineError } from '../support/errors.js';
import { hashFile } from '../models/file-hash.js';
import { CachedRepository } from './cache.js';
import type { RetryPolicy } from './connection.js';
import { explainDiskError } from './disk.js';
import { readHubEnvironment, type HubEnvironment } from './environment.js';
import { findResolved, type PulledModel } from './find.js';
import { isCommit } from './names.js';
import type { RequireFit } from './pulled-card.js';
import type { RemoteFile, RemoteRepository } from './remote.js';
import { ALL_WEIGHTS, CONFIG, PREPROCESSOR, cardOfRepository, chooseWeights } from './repository-card.js';
import { resolveName, suggestionsFor, type Catalog, type ResolvedName } from './resolve-name.js';
import { isIndex, partsOfIndex } from './weights-index.js';

/** Bytes of a config or an index; the largest on the hub, with a million labels, have less. */
const LARGEST_JSON = 64e6;

/** How far a pull is. */
export interface PullProgress {
  /** Path in the repository. */
  readonly file: string;
  /** Bytes of it that are here. */
  readonly done: number;
  /** Bytes that it has. */
  readonly total: number;
  /** Of `done`, what an earlier pull left. */
  readonly resumed: number;
  /** Set while nothing comes: another process fetches the same file, or the hub is asked again after a pause. */
  readonly pause?: string;
}

/** How a model is fetched: `pull`. */
export interface PullOptions {
  /** Branch, tag or commit. Default that of `name@revision`, the catalog's, else `main`. */
  readonly revision?: string | undefined;
  /**
   * A local `.safetensors` (or `.safetensors.index.json`), or a file of torch.save, to take as the weights; nothing is
   * fetched. Default: none.
   */
  readonly fromFile?: string | undefined;
  /** Called as bytes arrive. Default: none. */
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  /**
   * Aborting rejects with ABORTED. All that has arrived is kept, and the next pull goes on from there. Default: none.
   */
  readonly signal?: AbortSignal | undefined;
}

/** A model that is on this machine now. */
export interface Pulled extends PulledModel {
  /** Bytes that came over the network; 0 where all was here. */
  readonly transferred: number;
  /** Sentences for the user, such as that the hub could not be asked for news. */
  readonly notes: readonly string[];
}

/**
 * Brings a model's weights from the hub into the hub's own cache, which Python's huggingface_hub shares: see
 * docs/pull.md. Files that are there are not fetched again. A part of one is completed. Nothing gets its name before
 * its hash is right.
 *
 * @param nameOrRepository a name of the catalog, or any `org/name` whose `config.json` names a supported architecture
 * @throws SightlineError UNKNOWN_MODEL, UNSUPPORTED_MODEL, INVALID_CARD, INVALID_OPTION, HUB_UNREACHABLE, HUB_REFUSED,
 * WRONG_HASH, DISK_FULL, CACHE_NOT_WRITABLE, NOT_PULLED (offline and not here), ABORTED, FILE_NOT_FOUND and NOT_A_FILE
 * of `fromFile`
 */
export async function pullFrom(
  catalog: Catalog,
  nameOrRepository: string,
  options: PullOptions = {},
  retries?: RetryPolicy,
  requireFit: RequireFit = () => Promise.resolve(),
): Promise<Pulled> {
  const { signal } = options;
  const environment = await readHubEnvironment();
  try {
    signal?.throwIfAborted();
    const resolved = await resolveName(nameOrRepository, options.revision, catalog);
    const cached = new CachedRepository(environment.cache, resolved.repository);
    if (options.fromFile !== undefined) {
      return await fromFile(cached, resolved, resolve(options.fromFile), environment, signal, requireFit);
    }

    // A commit never changes; a branch may have moved on, and what is here of it may have been repaired since.
    const isFinal = isCommit(resolved.revision) || environment.offline;
    const here = await findResolved(cached, resolved).catch((error: unknown) => {
      if (isFinal || !(error instanceof SightlineError)) throw error;
      return null;
    });
    if (here !== null && isFinal) return { ...here, transferred: 0, notes: [] };
    if (environment.offline) {
      throw new SightlineError(
        'NOT_PULLED',
        `${resolved.name} is not on this machine, and HF_HUB_OFFLINE is set: unset it to fetch ${resolved.repository}, or give its weights with --from-file.`,
      );
    }
    const hint = await suggestionsFor(resolved.name, catalog);
    const pulled = await new Pull(cached, resolved, environment, options, hint).run(here, retries);
    // A file of the catalog's hash is known to fit.
    if (resolved.card?.weights.sha256 === undefined) await requireFit(pulled.card, pulled.files);
    return pulled;
  } catch (cause) {
    if (signal?.aborted) {
      throw abortedBy(
        signal,
        'The pull was aborted. All that has arrived is kept, and the next pull goes on from there.',
      );
    }
    throw explainDiskError(environment.cache, cause);
  }
}

async function fromFile(
  cached: CachedRepository,
  resolved: ResolvedName,
  path: string,
  { copies }: HubEnvironment,
  signal: AbortSignal | undefined,
  requireFit: RequireFit,
): Promise<Pulled> {
  const { placeLocalFile } = await import('./local-file.js');
  await placeLocalFile(cached, resolved, path, { copies, signal, requireFit });
  const placed = await findResolved(cached, resolved);
  if (placed === null) {
    throw new SightlineError('INTERNAL', `${path} was placed in ${cached.folder}, but is not found there.`);
  }
  return { ...placed, transferred: 0, notes: [] };
}

/** One pull over the network. */
class Pull {
  #transferred = 0;
  #current: PullProgress = { file: '', done: 0, total: 0, resumed: 0 };

  constructor(
    private readonly cached: CachedRepository,
    private readonly resolved: ResolvedName,
    private readonly environment: HubEnvironment,
    private readonly options: PullOptions,
    private readonly hint: string,
  ) {}

  async run(here: PulledModel | null, retries: RetryPolicy | undefined): Promise<Pulled> {
    // Imported late: whoever only loads a model needs neither the client nor the network.
    const [{ HubConnection }, { RemoteRepository }] = await Promise.all([
      import('./connection.js'),
      import('./remote.js'),
    ]);
    const connection = new HubConnection(this.environment, retries, (reason, milliseconds) =>
      this.#tell({ pause: `${reason}; asking again in ${Math.ceil(milliseconds / 1000)} s` }),
    );
    try {
      const remote = new RemoteRepository(connection, this.resolved.repository, this.hint, this.options.signal);
      let commit: string;
      try {
        commit = isCommit(this.resolved.revision)
          ? this.resolved.revision
          : await remote.commitOf(this.resolved.revision);
      } catch (error) {
        if (here === null || !(error instanceof SightlineError) || error.code !== 'HUB_UNREACHABLE') throw error;
        return {
          ...here,
          transferred: 0,
          notes: [`The copy of ${this.resolved.repository} in the cache is used: ${error.message}`],
        };
      }
      await (this.resolved.card === null ? this.#repository(remote, commit) : this.#cataloged(remote, commit));
      await this.cached.writeRef(this.resolved.revision, commit);
    } finally {
      await connection.close();
    }
    const pulled = await findResolved(this.cached, this.resolved);
    if (pulled === null) {
      throw new SightlineError(
        'INTERNAL',
        `${this.resolved.name} was fetched to ${this.cached.folder}, but is not found there.`,
      );
    }
    return { ...pulled, transferred: this.#transferred, notes: [] };
  }

  async #cataloged(remote: RemoteRepository, commit: string): Promise<void> {
    const { file, sha256 } = this.resolved.card!.weights;
    const listed = (await remote.files(commit, [file])).get(file);
    if (listed === undefined) throw this.#missing(file);
    if (sha256 !== undefined && listed.blob.length === 64 && listed.blob !== sha256) {
      throw this.#changed(file, listed.blob, sha256);
    }
    const path = await this.#fetch(remote, commit, isIndex(file) ? this.#small(listed) : listed);
    if (sha256 !== undefined && listed.blob.length !== 64) {
      const found = await hashFile(path, { signal: this.options.signal });
      if (found !== sha256) throw this.#changed(file, found, sha256);
    }
    if (isIndex(file)) await this.#parts(remote, commit, file, path);
  }

  async #repository(remote: RemoteRepository, commit: string): Promise<void> {
    const { repository, revision } = this.resolved;
    const listed = await remote.files(commit, [CONFIG, PREPROCESSOR, ...ALL_WEIGHTS]);
    const configFile = listed.get(CONFIG);
    if (configFile === undefined) {
      throw new SightlineError(
        'UNSUPPORTED_MODEL',
        `${repository} has no ${CONFIG}, so its graph is not known; export the model with models/export.py instead.`,
      );
    }
    const text = async (file: RemoteFile | undefined): Promise<string | null> =>
      file === undefined ? null : readFile(await this.#fetch(remote, commit, this.#small(file)), 'utf8');
    const config = (await text(configFile))!;
    const preprocessor = await text(listed.get(PREPROCESSOR));
    const weights = chooseWeights(repository, (file) => listed.has(file));
    // Before the large files: a model that cannot be loaded costs no time.
    await cardOfRepository({ repository, revision, config, preprocessor, weights });
    const main = listed.get(weights)!;
    const path = await this.#fetch(remote, commit, isIndex(weights) ? this.#small(main) : main);
    if (isIndex(weights)) await this.#parts(remote, commit, weights, path);
  }

  async #parts(remote: RemoteRepository, commit: string, index: string, path: string): Promise<void> {
    const parts = partsOfIndex(await readFile(path, 'utf8'), index, this.resolved.repository);
    const listed = await remote.files(commit, parts);
    for (const part of parts) if (!listed.has(part)) throw this.#missing(part);
    for (const part of parts) await this.#fetch(remote, commit, listed.get(part)!);
  }

  /** Brings one file, makes it visible in the commit's snapshot, and returns its path there. */
  async #fetch(remote: RemoteRepository, commit: string, file: RemoteFile): Promise<string> {
    const { transfer } = await import('./transfer.js');
    this.#current = { file: file.path, done: 0, total: file.size, resumed: 0 };
    const here = await this.cached.find(commit, file.path);
    // A copy tells nothing of its hash; only whoever had the right blob makes one.
    if (here !== null && ((await this.cached.blobNameOf(here)) ?? file.blob) === file.blob) return here;
    this.#transferred += await transfer(this.cached, remote, commit, file, {
      onBytes: (done, resumed) => this.#tell({ done, resumed }),
      onWait: () => this.#tell({ pause: 'another process fetches this file' }),
    });
    return this.cached.link(commit, file.path, file.blob, this.environment);
  }

  #tell(news: Partial<PullProgress>): void {
    const { pause: _, ...current } = this.#current;
    this.#current = { ...current, ...news };
    if (this.#current.file !== '') this.options.onProgress?.(this.#current);
  }

  /** Of what is read whole into memory. */
  #small(file: RemoteFile): RemoteFile {
    if (file.size <= LARGEST_JSON) return file;
    throw new SightlineError(
      'INVALID_CARD',
      `${file.path} of ${this.resolved.repository} has ${file.size} bytes, more than such a file ever needs: nothing was fetched.`,
    );
  }

  #missing(file: string): SightlineError {
    return new SightlineError(
      'UNKNOWN_MODEL',
      `${this.resolved.repository} has no file ${file} at ${this.resolved.revision}; look whether the repository was changed, or give --revision.`,
    );
  }

  #changed(file: string, found: string, expected: string): SightlineError {
    return new SightlineError(
      'WRONG_HASH',
      `${file} of ${this.resolved.repository} at ${this.resolved.revision} has the SHA-256 ${found}, where the catalog has ${expected}: the repository was changed, or this is not the real one; pull ${this.resolved.repository} by its own name if you trust it.`,
      { details: { found, expected } },
    );
  }
}
