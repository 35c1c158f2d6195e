import { createHash, randomBytes } from 'node:crypto';
import { copyFile, mkdir, open, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { SightlineError } from '../support/errors.js';
import { unreadable } from '../support/files.js';
import { hashFile } from '../models/file-hash.js';
import type { CachedRepository } from './cache.js';
import { digestFor } from './digest.js';
import { requireSpace } from './disk.js';
import { isCommit } from './names.js';
import type { RequireFit } from './pulled-card.js';
import {
  ALL_WEIGHTS,
  CONFIG,
  PREPROCESSOR,
  SAVED,
  SAVED_INDEX,
  WEIGHTS,
  WEIGHTS_INDEX,
  cardOfRepository,
} from './repository-card.js';
import type { ResolvedName } from './resolve-name.js';
import { isIndex, partsOfIndex } from './weights-index.js';

/** A file for the cache: where it lies now, and where it belongs. */
interface Placement {
  readonly from: string;
  readonly file: string;
  readonly blob: string;
}

/**
 * Puts a local safetensors file (or the `.index.json` of a large one), or one of torch.save, into the cache as a
 * model's weights, without the network. Of a repository outside the catalog `config.json` and
 * `preprocessor_config.json` are taken from beside it.
 *
 * @throws SightlineError WRONG_HASH where the catalog knows another hash; FILE_NOT_FOUND, NOT_A_FILE, INVALID_OPTION,
 * UNSUPPORTED_MODEL, INVALID_CARD, DISK_FULL
 */
export async function placeLocalFile(
  cached: CachedRepository,
  resolved: ResolvedName,
  path: string,
  options: {
    readonly copies: boolean;
    readonly signal?: AbortSignal | undefined;
    readonly requireFit: RequireFit;
  },
): Promise<void> {
  const { card, repository, revision } = resolved;
  const beside = (name: string): string => join(dirname(path), name);
  const main = card?.weights.file ?? nameInRepository(path);
  if (isIndex(main) !== isIndex(path)) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The weights of ${resolved.name} are ${isIndex(main) ? 'several files: give their .index.json' : 'one .safetensors file'}, not ${path}.`,
    );
  }

  await requireFile(path);
  const weights = new Map([[main, path]]);
  if (isIndex(path)) {
    for (const part of partsOfIndex(await readFile(path, 'utf8'), main, path)) {
      weights.set(part, beside(basename(part)));
    }
  }
  const placements: Placement[] = [];
  for (const [file, from] of weights) {
    await requireFile(from);
    if (file.endsWith('.safetensors')) await requireSafetensors(from);
    placements.push({
      from,
      file,
      blob: isIndex(file) ? await gitHash(from) : await hashFile(from, { signal: options.signal }),
    });
  }
  const expected = card?.weights.sha256;
  if (expected !== undefined && placements[0]!.blob !== expected) {
    throw new SightlineError(
      'WRONG_HASH',
      `${path} is not the file that the catalog means by ${resolved.name}: its SHA-256 is ${placements[0]!.blob}, expected is ${expected}; take ${main} of ${repository}, or give your own weights another name: sightline pull you/your-model --from-file ${path}.`,
    );
  }
  const numbers = [...weights].filter(([file]) => !isIndex(file)).map(([, from]) => from);
  if (card !== null && expected === undefined) await options.requireFit(card, numbers);
  if (card === null) {
    const config = await readFile(beside(CONFIG), 'utf8').catch(() => null);
    if (config === null) {
      throw new SightlineError(
        'FILE_NOT_FOUND',
        `There is no ${CONFIG} beside ${path}, which tells the graph of ${repository}; put it there, as save_pretrained writes it.`,
      );
    }
    const preprocessor = await readFile(beside(PREPROCESSOR), 'utf8').catch(() => null);
    // Refused before anything is written.
    const made = await cardOfRepository({ repository, revision, config, preprocessor, weights: main });
    await options.requireFit(made, numbers);
    for (const file of preprocessor === null ? [CONFIG] : [CONFIG, PREPROCESSOR]) {
      placements.push({ from: beside(file), file, blob: await gitHash(beside(file)) });
    }
  }

  // Without the hub the commit is known only where it was asked for, or where the file is proven to be that commit's.
  const known = expected === undefined && !isCommit(revision) ? null : await cached.commitOf(revision);
  const commit = known ?? contentsAsCommit(placements);
  await requireNoOther(cached, commit, main);
  for (const placement of placements) {
    options.signal?.throwIfAborted();
    await place(cached, placement);
    await cached.link(commit, placement.file, placement.blob, options);
  }
  await cached.writeRef(revision, commit);
}

/** The weights' name in a repository, by which the cache finds them again. */
function nameInRepository(path: string): string {
  if (isIndex(path)) return path.endsWith('.bin.index.json') ? SAVED_INDEX : WEIGHTS_INDEX;
  return /\.(?:pth|pt|bin|ckpt|tar)$/i.test(path) ? SAVED : WEIGHTS;
}

/** A commit that was named may be here with other weights, which would be found first. */
async function requireNoOther(cached: CachedRepository, commit: string, main: string): Promise<void> {
  const before: readonly string[] = ALL_WEIGHTS.slice(0, Math.max(0, (ALL_WEIGHTS as readonly string[]).indexOf(main)));
  for (const name of before) {
    if ((await cached.find(commit, name)) === null) continue;
    throw new SightlineError(
      'INVALID_OPTION',
      `${cached.repository} is here at ${commit} with ${name}, which would be taken in the file's place; give another revision, or none.`,
    );
  }
}

/** A name of 40 digits for a snapshot that no commit stands for: the same contents get the same. */
function contentsAsCommit(placements: readonly Placement[]): string {
  const hash = createHash('sha1').update('sightline pull --from-file\n');
  for (const { file, blob } of placements) hash.update(`${file} ${blob}\n`);
  return hash.digest('hex');
}

async function place(cached: CachedRepository, { from, blob }: Placement): Promise<void> {
  const target = cached.blob(blob);
  const { size } = await stat(from);
  if ((await stat(target).catch(() => null))?.size === size) return;
  await mkdir(dirname(target), { recursive: true });
  await requireSpace(cached.cache, dirname(target), from, size);
  const temporary = `${target}.${randomBytes(4).toString('hex')}.incomplete`;
  try {
    await copyFile(from, temporary);
    // Copied, not hashed: it may have changed in between.
    const copied = blob.length === 64 ? await hashFile(temporary) : await gitHash(temporary);
    if (copied !== blob) {
      throw new SightlineError('WRONG_HASH', `${from} changed while it was copied; run the command again.`);
    }
    await sync(temporary);
    await rename(temporary, target);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function gitHash(path: string): Promise<string> {
  const bytes = await readFile(path);
  return digestFor('0'.repeat(40), bytes.length).update(bytes).digest('hex');
}

async function requireFile(path: string): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw unreadable(path, cause, 'give the path of a .safetensors or .pth file');
  });
  if (!found.isFile()) {
    throw new SightlineError('NOT_A_FILE', `${path} is not a regular file; give a .safetensors file.`);
  }
}

/**
 * Whether it begins as safetensors do: a length, then a JSON object of that length. Its tensors are checked when it is
 * loaded.
 */
async function requireSafetensors(path: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const start = Buffer.alloc(9);
    const { bytesRead } = await handle.read(start, 0, 9, 0);
    const { size } = await handle.stat();
    if (bytesRead === 9 && start[8] === 0x7b && start.readBigUInt64LE(0) <= BigInt(size - 8)) return;
  } finally {
    await handle?.close();
  }
  throw new SightlineError(
    'INVALID_OPTION',
    `${path} is no safetensors file; give one, or a file of torch.save that ends in .pth or .bin.`,
  );
}
