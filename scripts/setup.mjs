#!/usr/bin/env node
/**
 * The native half of the set-up: a LibTorch, found or fetched, and the addon built against it. It is what
 * `sightline setup` does in a project that installed the npm package, and a part of every task of run.mjs.
 */
import { existsSync, readdirSync } from 'node:fs';
import { libtorchCache } from './cache-folder.mjs';
import { ADDON, buildNative, hashNativeSources, loadProblem } from './build-native.mjs';
import { findLibTorch, inspectLibTorch } from './libtorch.mjs';
import { SetupError, isMain, runCommand } from './setup-error.mjs';
import { Stamps } from './stamps.mjs';
import { step } from './steps.mjs';
import { requireBuildTools, requireNode } from './tools.mjs';

/** What decides which LibTorch is found, besides the folders themselves. */
const DECIDING = ['LIBTORCH', 'SIGHTLINE_CACHE', 'XDG_CACHE_HOME', 'HOME', 'VIRTUAL_ENV', 'CONDA_PREFIX', 'PATH'];

/**
 * Does what is still to do and returns the LibTorch in use.
 * @param {object} [options]
 * @param {NodeJS.ProcessEnv} [options.env]
 * @param {Stamps} [options.stamps]
 * @param {boolean} [options.fetch] false: only what is here already may be used
 * @returns {Promise<import('./libtorch.mjs').LibTorch>}
 */
export async function setUpNative({ env = process.env, stamps = new Stamps(), fetch = true } = {}) {
  const sources = hashNativeSources();
  const stamp = stamps.read('native');
  const sourcesBuilt = existsSync(ADDON) && stamp?.sources === sources;
  // Before anything large is downloaded: what is fetched is of no use without a compiler.
  if (!sourcesBuilt) requireBuildTools(env);

  const libtorch = await obtainLibTorch(env, stamps, fetch);
  const built = sourcesBuilt && stamp.root === libtorch.root && stamp.version === libtorch.version;
  if (!built) {
    if (sourcesBuilt) requireBuildTools(env);
    await step(`native build against LibTorch ${libtorch.version}`, async () => {
      stamps.forget('native');
      await buildNative({ libtorch: libtorch.root, env });
      const problem = loadProblem(env);
      if (problem !== null) {
        throw new SetupError(`The addon was built but does not load (${problem}): the LibTorch in ${libtorch.root} is incomplete; set LIBTORCH to another, or remove it and run this again.`);
      }
      stamps.write('native', { sources, root: libtorch.root, version: libtorch.version });
    });
  }
  return libtorch;
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {Stamps} stamps
 * @param {boolean} fetch
 * @returns {Promise<import('./libtorch.mjs').LibTorch>}
 */
async function obtainLibTorch(env, stamps, fetch) {
  const key = DECIDING.map((name) => env[name] ?? null);
  const remembered = remember(env, stamps, key);
  if (remembered !== null) return remembered;

  const { found, tried } = findLibTorch({ env });
  if (found !== null) {
    console.error(`sightline: LibTorch ${found.version} in ${found.root} (${found.why})`);
    stamps.write('libtorch', { key, found });
    return found;
  }
  if (!fetch) {
    throw new SetupError(`No LibTorch is here (${tried.map(({ place, why }) => `${place}: ${why}`).join('; ')}): run npx sightline setup, which fetches one, or set LIBTORCH.`);
  }
  // Only here, as this needs npm packages, and by now they are installed.
  const { fetchLibTorch } = await import('./fetch-libtorch.mjs');
  await step('LibTorch is not here and is fetched', () => fetchLibTorch({ env }));
  const fetched = findLibTorch({ env }).found;
  if (fetched === null) throw new SetupError(`LibTorch was fetched into ${libtorchCache(env)} but is not found there: remove that folder and run this again.`);
  stamps.write('libtorch', { key, found: fetched });
  return fetched;
}

/**
 * The last answer, where the same search would give it again. It spares starting Python, which takes longer than all
 * the rest: LIBTORCH and the cache come first and are looked at anew every time.
 * @param {NodeJS.ProcessEnv} env
 * @param {Stamps} stamps
 * @param {(string | null)[]} key
 * @returns {import('./libtorch.mjs').LibTorch | null}
 */
function remember(env, stamps, key) {
  const stamp = stamps.read('libtorch');
  if (stamp === null || JSON.stringify(stamp.key) !== JSON.stringify(key)) return null;
  /** @type {import('./libtorch.mjs').LibTorch} */
  const found = stamp.found;
  if (found.origin === 'python') {
    const cache = libtorchCache(env);
    if (existsSync(cache) && readdirSync(cache).some((name) => /^\d/.test(name))) return null;
    const seen = inspectLibTorch(found.root);
    return seen.problem === null && seen.version === found.version ? found : null;
  }
  const again = findLibTorch({ env }).found;
  return again?.origin === found.origin && again.root === found.root ? again : null;
}

if (isMain(import.meta.url)) {
  await runCommand(async () => {
    requireNode();
    const libtorch = await setUpNative();
    console.error(`sightline: ready, with LibTorch ${libtorch.version} in ${libtorch.root}`);
  });
}
