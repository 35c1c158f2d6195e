#!/usr/bin/env node
/**
 * Makes the engine ready to use: finds or fetches LibTorch, and has an addon for it. A checkout builds its own, against
 * the stamps of what was built before; a package has prebuilt ones and builds only for a LibTorch that none of them
 * fits. `npx sightline setup` and the tasks of a checkout come through here.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { chooseAddon, findAddon, recallPython, stateStamps } from '../lib/setup/addon.mjs';
import { buildForPackage } from './build-for-package.mjs';
import { buildNative, hashNativeSources, probeAddon } from './build-native.mjs';
import { cacheFolder, libtorchCache, makeCacheFolder } from '../lib/setup/cache-folder.mjs';
import { VERSION } from './libtorch-builds.mjs';
import { findLibTorch, inspectLibTorch } from '../lib/setup/libtorch.mjs';
import { withLock } from './lock.mjs';
import { findNvidia } from './nvidia.mjs';
import { SetupError, isMain, runCommand } from '../lib/setup/setup-error.mjs';
import { IS_CHECKOUT, SET_UP, Stamps } from '../lib/setup/stamps.mjs';
import { step } from './steps.mjs';
import { requireBuildTools, requireNode } from './tools.mjs';

/** What decides which LibTorch is found, besides the folders themselves. */
const DECIDING = ['LIBTORCH', 'SIGHTLINE_CACHE', 'XDG_CACHE_HOME', 'HOME', 'VIRTUAL_ENV', 'CONDA_PREFIX', 'PATH'];

/**
 * Does what is still to do and returns the LibTorch in use.
 * @param {object} [options]
 * @param {NodeJS.ProcessEnv} [options.env]
 * @param {boolean} [options.build] in a package: build an addon even where a prebuilt one fits
 * @returns {Promise<import('../lib/setup/addon.mjs').Choice>}
 */
export async function setUpNative({ env = process.env, build = false } = {}) {
  requireNode();
  await (IS_CHECKOUT ? setUpCheckout(env) : setUpPackage(env, build));
  return chooseAddon(env);
}

/** @param {NodeJS.ProcessEnv} env */
async function setUpCheckout(env) {
  const stamps = new Stamps();
  const sources = hashNativeSources();
  const stamp = stamps.read('native');
  const sourcesBuilt = stamp?.sources === sources && existsSync(stamp.addon ?? '');
  // Before anything large is downloaded: what is fetched is of no use without a compiler.
  if (!sourcesBuilt) requireBuildTools(env);

  const libtorch = await obtainLibTorch(env, stamps, true);
  if (sourcesBuilt && stamp.root === libtorch.root && stamp.version === libtorch.version) return;
  if (sourcesBuilt) requireBuildTools(env);
  await step(`native build against LibTorch ${libtorch.version}`, async () => {
    stamps.forget('native');
    await buildNative({ libtorch: libtorch.root, env });
    prove(env, libtorch);
    stamps.write('native', {
      sources,
      root: libtorch.root,
      version: libtorch.version,
      addon: findAddon(libtorch, env)?.file,
    });
  });
}

/** @param {NodeJS.ProcessEnv} env @param {boolean} build */
async function setUpPackage(env, build) {
  // Where all is there already, nothing is written: a LibTorch that LIBTORCH names needs no cache.
  const { found } = findLibTorch({ env, headers: false, remembered: recallPython(env) });
  if (found === null || build || findAddon(found, env) === null) {
    await makeCacheFolder(env);
    await withLock(path.join(cacheFolder(env), '.setup.lock'), async () => {
      if (build || findAddon({ version: VERSION, cuda: null }, env) === null) requireBuildTools(env);
      const libtorch = await obtainLibTorch(env, stateStamps(env), false);
      if (build || findAddon(libtorch, env) === null) {
        await step(`native build against LibTorch ${libtorch.version}`, () => buildForPackage(libtorch.root, env));
      }
    });
  }
  prove(env, chooseAddon(env).libtorch);
}

/**
 * Loads the addon in a child process, and looks whether it can use the GPU that is there.
 * @param {NodeJS.ProcessEnv} env
 * @param {import('../lib/setup/libtorch.mjs').LibTorch} libtorch
 */
function prove(env, libtorch) {
  const { problem, versions } = probeAddon(env);
  if (problem !== null) {
    throw new SetupError(
      `The addon does not load (${problem}): the LibTorch in ${libtorch.root} may be incomplete; set LIBTORCH to another, or remove it and run ${SET_UP} again.`,
    );
  }
  if (libtorch.cuda !== null && versions?.cudaDevices === 0 && findNvidia(env).gpus.length > 0) {
    console.error(
      'sightline: this LibTorch cannot use the GPU that is here, so the CPU is used; npx sightline doctor says more',
    );
  }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {Stamps} stamps
 * @param {boolean} headers
 * @returns {Promise<import('../lib/setup/libtorch.mjs').LibTorch>}
 */
async function obtainLibTorch(env, stamps, headers) {
  const key = DECIDING.map((name) => env[name] ?? null);
  const remembered = remember(env, stamps, key, headers);
  if (remembered !== null) return remembered;

  const { found } = findLibTorch({ env, headers });
  if (found !== null) {
    console.error(`sightline: LibTorch ${found.version} in ${found.root} (${found.why})`);
    stamps.write('libtorch', { key, found });
    return found;
  }
  // Only here, as this needs npm packages, and by now they are installed.
  const { fetchLibTorch } = await import('./fetch-libtorch.mjs');
  await step('LibTorch is not here and is fetched', () => fetchLibTorch({ env }));
  const fetched = findLibTorch({ env }).found;
  if (fetched === null) {
    throw new SetupError(
      `LibTorch was fetched into ${libtorchCache(env)} but is not found there: remove that folder and run this again.`,
    );
  }
  stamps.write('libtorch', { key, found: fetched });
  return fetched;
}

/**
 * The last answer, where the same search would give it again. It spares starting Python, which takes longer than all
 * the rest: LIBTORCH and the cache come first and are looked at again every time.
 * @param {NodeJS.ProcessEnv} env
 * @param {Stamps} stamps
 * @param {(string | null)[]} key
 * @param {boolean} headers
 * @returns {import('../lib/setup/libtorch.mjs').LibTorch | null}
 */
function remember(env, stamps, key, headers) {
  const stamp = stamps.read('libtorch');
  if (stamp === null || JSON.stringify(stamp.key) !== JSON.stringify(key)) return null;
  /** @type {import('../lib/setup/libtorch.mjs').LibTorch} */
  const found = stamp.found;
  if (found.origin === 'python') {
    const cache = libtorchCache(env);
    if (existsSync(cache) && readdirSync(cache).some((name) => /^\d/.test(name))) return null;
    const seen = inspectLibTorch(found.root, undefined, headers);
    return seen.problem === null && seen.version === found.version ? found : null;
  }
  const again = findLibTorch({ env, headers, remembered: null }).found;
  return again?.origin === found.origin && again.root === found.root ? again : null;
}

if (isMain(import.meta.url)) {
  await runCommand(async () => {
    const { libtorch } = await setUpNative();
    console.error(`sightline: ready, with LibTorch ${libtorch.version} in ${libtorch.root}`);
  });
}
