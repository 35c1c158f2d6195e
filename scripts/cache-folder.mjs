import os from 'node:os';
import path from 'node:path';

/**
 * Where sightline keeps what it fetched: `SIGHTLINE_CACHE`, else `sightline` in the XDG cache folder.
 * @param {NodeJS.ProcessEnv} env
 * @returns {string} absolute path; it need not exist
 */
export function cacheFolder(env = process.env) {
  if (env.SIGHTLINE_CACHE) return path.resolve(env.SIGHTLINE_CACHE);
  // The XDG specification says that a relative XDG_CACHE_HOME is to be ignored.
  const xdg = env.XDG_CACHE_HOME && path.isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : undefined;
  return path.join(xdg ?? path.join(env.HOME ?? os.homedir(), '.cache'), 'sightline');
}

/**
 * The folder of the fetched LibTorch builds, one subfolder `<version>-<variant>` each.
 * @param {NodeJS.ProcessEnv} env
 */
export function libtorchCache(env = process.env) {
  return path.join(cacheFolder(env), 'libtorch');
}
