import {
  constants,
  copyFile,
  mkdir,
  readFile,
  readlink,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join, relative } from 'node:path';

import { isBlobName, isCommit, isFileInside } from './names.js';

/**
 * One repository in the hub's cache, in the layout that huggingface_hub reads and writes:
 *
 * - `models--org--name/blobs/HASH`: contents, each once;
 * - `models--org--name/snapshots/COMMIT/FILE`: relative links to them;
 * - `models--org--name/refs/main`: the commit that a branch or tag stood at;
 * - `.locks/models--org--name/HASH.*`: who is fetching what.
 *
 * Every name that becomes a path is checked here, since most of them come from a server.
 */
export class CachedRepository {
  readonly folder: string;

  constructor(
    readonly cache: string,
    readonly repository: string,
  ) {
    this.folder = join(cache, this.#folderName);
  }

  get #folderName(): string {
    return ['models', ...this.repository.split('/')].join('--');
  }

  blob(name: string): string {
    if (!isBlobName(name)) throw new TypeError(`no blob's name: ${JSON.stringify(name)}`);
    return join(this.folder, 'blobs', name);
  }

  /**
   * Where a transfer collects its bytes. Not `HASH.incomplete`: older huggingface_hub appends to that under a lock
   * which Node cannot take, so two writers would spoil it. Its own tools still list and prune `*.incomplete`.
   */
  partial(blob: string): string {
    return `${this.blob(blob)}.sightline.incomplete`;
  }

  lock(blob: string): string {
    return join(this.cache, '.locks', this.#folderName, `${basename(this.blob(blob))}.sightline.lock`);
  }

  pointer(commit: string, file: string): string {
    if (!isCommit(commit) || !isFileInside(file)) {
      throw new TypeError(`no file of a snapshot: ${JSON.stringify([commit, file])}`);
    }
    return join(this.folder, 'snapshots', commit, ...file.split('/'));
  }

  /** The commit that a branch or tag stood at when it was last fetched; null where that is not known. */
  async commitOf(revision: string): Promise<string | null> {
    if (isCommit(revision)) return revision;
    const text = await readFile(join(this.folder, 'refs', ...revision.split('/')), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : null;
  }

  /** Commits of which anything is here. */
  async commits(): Promise<string[]> {
    const names = await readdir(join(this.folder, 'snapshots')).catch(() => []);
    return names.filter(isCommit).sort();
  }

  /** Path of a file of a commit, or null where it is not (or not wholly) here. */
  async find(commit: string, file: string): Promise<string | null> {
    const pointer = this.pointer(commit, file);
    // Follows the link: one whose blob was deleted counts as missing.
    const found = await stat(pointer).catch(() => null);
    return found?.isFile() === true ? pointer : null;
  }

  /**
   * The blob that a file of a snapshot stands for, by its link; null where the file was copied and tells nothing.
   * One step only: huggingface_hub may keep the blob itself elsewhere, under another name.
   */
  async blobNameOf(pointer: string): Promise<string | null> {
    const target = await readlink(pointer).catch(() => null);
    const name = target === null ? '' : basename(target);
    return isBlobName(name) ? name : null;
  }

  /** Makes a blob that is here visible as a file of a commit. A file that is there already is replaced. */
  async link(
    commit: string,
    file: string,
    blob: string,
    { copies = false }: { readonly copies?: boolean } = {},
  ): Promise<string> {
    const pointer = this.pointer(commit, file);
    await mkdir(dirname(pointer), { recursive: true });
    await replace(pointer, async (temporary) => {
      if (!copies) {
        try {
          return await symlink(relative(dirname(pointer), this.blob(blob)), temporary);
        } catch (error) {
          // File systems without links, and Windows without the right to make them.
          if (
            !['EPERM', 'EACCES', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL'].includes(
              (error as NodeJS.ErrnoException).code ?? '',
            )
          ) {
            throw error;
          }
        }
      }
      await copyFile(this.blob(blob), temporary, constants.COPYFILE_FICLONE);
    });
    return pointer;
  }

  /**
   * Notes where a branch or tag stands. Only after the commit's files are here, so that a failed pull leaves the last
   * good state.
   */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    const ref = join(this.folder, 'refs', ...revision.split('/'));
    await mkdir(dirname(ref), { recursive: true });
    await replace(ref, (temporary) => writeFile(temporary, commit));
  }
}

/** Writes beside `path` and renames, so that readers see the old or the new, and nothing half done. */
async function replace(path: string, write: (temporary: string) => Promise<unknown>): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}.tmp`);
  try {
    await write(temporary);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}
