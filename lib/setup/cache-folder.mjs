import { access, constants, mkdir } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { SetupError } from './setup-error.mjs';

/**
 * Where sightline keeps what it fetched: `SIGHTLINE_CACHE`, else `sightline` in the XDG cache folder.
 * @param {NodeJS.ProcessEnv} env
 * @returns {string} absolute path; it need not exist
 */
export function cacheFolder(env = process.env) {
  if (env.SIGHTLINE_CACHE) return path.resolve(env.SIGHTLINE_CACHE);
  // The XDG specification says that a relative XDG_CACHE_HOME is to be ignored.
  const xdg = env.XDG_CACHE_HOME && path.isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : undefined;
  return path.join(xdg ?? path.join(home(env), '.cache'), 'sightline');
}

/**
 * No folder below /tmp in its place: anybody can make one there first, with an addon of theirs in it.
 * @param {NodeJS.ProcessEnv} env
 */
function home(env) {
  try {
    if (path.isAbsolute(env.HOME || os.homedir())) return env.HOME || os.homedir();
  } catch {
    // The user has no entry in /etc/passwd, as in a container that is run under a bare number.
  }
  throw new SetupError(
    'This user has no home folder, so there is no place for the cache: set SIGHTLINE_CACHE to a folder.',
  );
}

/**
 * The folder of the fetched LibTorch builds, one subfolder `<version>-<variant>` each.
 * @param {NodeJS.ProcessEnv} env
 */
export function libtorchCache(env = process.env) {
  return path.join(cacheFolder(env), 'libtorch');
}

/** Makes sure of a cache that can be written. @param {NodeJS.ProcessEnv} env */
export async function makeCacheFolder(env = process.env) {
  const folder = cacheFolder(env);
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    throw new SetupError(
      `The cache folder ${folder} cannot be written (${code}): set SIGHTLINE_CACHE to one that can.`,
      { cause: error },
    );
  }
}
