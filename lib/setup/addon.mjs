/**
 * Which addon is loaded, and how. An addon fits one minor version of LibTorch, so the LibTorch that is found decides.
 * This runs in the process of whoever uses sightline: it starts no other program and writes nothing.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from './cache-folder.mjs';
import { currentPlatform, findLibTorch, requirePlatform } from './libtorch.mjs';
import { SetupError } from './setup-error.mjs';
import { IS_CHECKOUT, PACKAGE_ROOT, SET_UP, Stamps } from './stamps.mjs';

// A package of npm is loaded when it is needed: this file is also read before any is installed.
const require = createRequire(import.meta.url);

const TARGET = `${process.platform}-${process.arch}`;

// A plain name in this form is what tools that gather the files of a program (@vercel/nft) understand.
const ALL_PREBUILDS = fileURLToPath(new URL('../../prebuilds/', import.meta.url));

/** The addons that come with the package. */
export const PREBUILDS = path.join(ALL_PREBUILDS, TARGET);

const LOADER = 'libtorch-loader.node';

/** In the order of their dependencies: each by its own path, so that LD_LIBRARY_PATH can put no other in its place. */
const LIBRARIES = ['libc10.so', 'libtorch_cpu.so', 'libc10_cuda.so', 'libtorch_cuda.so', 'libtorch.so'];

/** @typedef {import('./addon.mjs').Addon} Addon */

/** @param {string} version such as `2.13.0+cpu` */
export function minorOf(version) {
  return version.split('.').slice(0, 2).join('.');
}

/**
 * Where set-up puts what it builds: in the checkout, or, as a package may be read-only or another's, in the cache.
 * @param {NodeJS.ProcessEnv} env
 */
export function builtAddons(env = process.env) {
  if (IS_CHECKOUT) return path.join(PACKAGE_ROOT, 'build', 'Release');
  const { version } = JSON.parse(readFileSync(path.join(PACKAGE_ROOT, 'package.json'), 'utf8'));
  return path.join(cacheFolder(env), 'addons', `${version}-${TARGET}`);
}

/** What set-up remembers. @param {NodeJS.ProcessEnv} env */
export function stateStamps(env = process.env) {
  return IS_CHECKOUT ? new Stamps() : new Stamps(path.join(cacheFolder(env), 'state'));
}

/**
 * The addon that fits a version: one that was built here, else a prebuilt one. A checkout's own sources may be newer
 * than its prebuilt addons, so there only what was built counts.
 * @param {{ version: string, cuda: string | null }} libtorch
 * @param {NodeJS.ProcessEnv} env
 * @returns {Addon | null}
 */
export function findAddon({ version, cuda }, env = process.env) {
  const name = `sightline-libtorch-${minorOf(version)}`;
  /** @type {Addon[]} */
  const candidates = [];
  const built = builtFolder(env);
  if (built !== null) {
    // Built with CUDA graphs, it needs the libraries of CUDA.
    if (cuda !== null) {
      candidates.push({
        file: path.join(built, `${name}-cuda.node`),
        kind: 'built',
        why: `built here for LibTorch ${minorOf(version)}, with CUDA graphs`,
      });
    }
    candidates.push({
      file: path.join(built, `${name}.node`),
      kind: 'built',
      why: `built here for LibTorch ${minorOf(version)}`,
    });
  }
  const prebuilt = IS_CHECKOUT ? null : findPrebuilt(name);
  if (prebuilt !== null) {
    candidates.push({ file: prebuilt, kind: 'prebuilt', why: `prebuilt for LibTorch ${minorOf(version)}` });
  }
  return candidates.find(({ file }) => existsSync(file)) ?? null;
}

/**
 * A built addon's name among the prebuilt ones, with the tags that node-gyp-build reads: Node-API, and the C library.
 * The loader keeps its name, by which it is asked for.
 * @param {string} name
 */
export function prebuiltName(name) {
  return name.replace(/^(sightline-libtorch-[\d.]+)\.node$/, '$1.napi.glibc.node');
}

/**
 * Of the prebuilt addons of a name, the one whose tags fit this Node and C library (`NAME.napi.glibc.node`): by
 * node-gyp-build's rules, which everyone's prebuilds follow. That an addon fits one LibTorch only is our own rule on
 * top.
 * @param {string} name
 * @returns {string | null}
 */
function findPrebuilt(name) {
  if (!existsSync(PREBUILDS)) return null;
  const { parseTags, matchTags, compareTags } = require('node-gyp-build');
  const fitting = readdirSync(PREBUILDS)
    .filter((file) => file.startsWith(`${name}.`))
    .map(parseTags)
    .filter(matchTags('node', process.versions.modules))
    .sort(compareTags('node'));
  return fitting.length === 0 ? null : path.join(PREBUILDS, fitting[0].file);
}

/**
 * Null for a user without a home folder, who has no cache and can still use a prebuilt addon.
 * @param {NodeJS.ProcessEnv} env
 */
function builtFolder(env) {
  try {
    return builtAddons(env);
  } catch (error) {
    if (error instanceof SetupError) return null;
    throw error;
  }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {import('./addon.mjs').Choice}
 */
export function chooseAddon(env = process.env) {
  // Asking for glibc's version takes longer than all the rest; it is asked for when something fails.
  const platform = { os: process.platform, arch: process.arch, glibc: '2.28' };
  const { found, tried } = findLibTorch({ env, platform, headers: IS_CHECKOUT, remembered: recallPython(env) });
  if (found === null) {
    requirePlatform(currentPlatform());
    throw new SetupError(
      `There is no LibTorch here (${tried.map(({ place, why }) => `${place}: ${why}`).join('; ')}): run ${SET_UP}, which fetches one.`,
    );
  }
  const addon = findAddon(found, env);
  if (addon === null) {
    throw new SetupError(
      `There is no addon for LibTorch ${found.version} in ${found.root} yet: run ${SET_UP}, which builds one.`,
    );
  }
  return { addon, libtorch: found };
}

/** The root of the torch that set-up found through Python. @param {NodeJS.ProcessEnv} env @returns {string | null} */
export function recallPython(env) {
  try {
    const found = stateStamps(env).read('libtorch')?.found;
    return found?.origin === 'python' ? found.root : null;
  } catch (error) {
    if (error instanceof SetupError) return null;
    throw error;
  }
}

/**
 * Loads LibTorch, then the addon, which finds it in the process.
 * @param {import('./addon.mjs').Choice} choice
 * @returns {unknown}
 */
export function loadAddon({ addon, libtorch }) {
  try {
    const { open } = require(path.join(path.dirname(addon.file), LOADER));
    for (const name of LIBRARIES) {
      const library = path.join(libtorch.root, 'lib', name);
      if (existsSync(library)) open(library, name);
    }
    return require(addon.file);
  } catch (error) {
    requirePlatform(currentPlatform());
    const { message } = /** @type {Error} */ (error);
    throw new SetupError(
      `The addon ${addon.file} (${addon.why}) does not load with the LibTorch ${libtorch.version} in ${libtorch.root} (${message.split('\n')[0]}): run ${SET_UP}, or set LIBTORCH to another one.`,
      { cause: error },
    );
  }
}
