/**
 * Finds the LibTorch to build and run against: `LIBTORCH`, then the project's cache, then an installed Python torch.
 * Nothing is downloaded here (see scripts/fetch-libtorch.mjs) and nothing but Node is needed.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { libtorchCache } from './cache-folder.mjs';
import { deniedPart, inspectLibTorch, isFolder, SUPPORTED } from './libtorch-folder.mjs';
import { compareVersions, currentPlatform, requirePlatform } from './platform.mjs';
import { SetupError } from './setup-error.mjs';

export { inspectLibTorch, isSupported, SUPPORTED } from './libtorch-folder.mjs';
export { compareVersions, currentPlatform, requirePlatform } from './platform.mjs';

/** @typedef {import('./libtorch.mjs').LibTorch} LibTorch */
/** @typedef {import('./libtorch.mjs').Refusal} Refusal */
/** @typedef {import('./libtorch.mjs').Platform} Platform */

/**
 * The search, in order. A `LIBTORCH` that is set but wrong is an error and never skipped: its owner meant it.
 * `remembered`: in place of asking Python, the root that it answered with before, or null.
 * @param {import('./libtorch.mjs').SearchOptions} [options]
 * @returns {import('./libtorch.mjs').Search}
 */
export function findLibTorch({
  env = process.env,
  cwd = '',
  platform = currentPlatform(),
  headers = true,
  remembered,
} = {}) {
  requirePlatform(platform);
  /** @type {Refusal[]} */
  const tried = [];

  if (env.LIBTORCH) {
    const root = path.resolve(cwd, env.LIBTORCH);
    const seen = inspectLibTorch(root, platform, headers);
    if (seen.problem !== null) {
      throw new SetupError(
        `LIBTORCH is ${env.LIBTORCH}, but ${seen.problem}; point it at the folder that holds lib/ and include/ of LibTorch ${SUPPORTED.first} to ${SUPPORTED.last}, or unset it.`,
      );
    }
    return {
      found: {
        root,
        version: seen.version,
        cuda: seen.cuda,
        origin: 'LIBTORCH',
        why: 'the environment variable LIBTORCH names it',
      },
      tried,
    };
  }
  tried.push({ origin: 'LIBTORCH', place: 'the environment variable LIBTORCH', why: 'it is not set' });

  const cached = findInCache(env, platform, headers, tried);
  if (cached !== null) return { found: cached, tried };

  const installed =
    remembered === undefined
      ? findInPython(env, platform, headers, tried)
      : recall(remembered, platform, headers, tried);
  return { found: installed, tried };
}

/**
 * @param {string | null} root
 * @param {Platform} platform
 * @param {boolean} headers
 * @param {Refusal[]} tried
 * @returns {LibTorch | null}
 */
function recall(root, platform, headers, tried) {
  const seen = root === null ? null : inspectLibTorch(root, platform, headers);
  if (root === null || seen === null || seen.problem !== null) {
    tried.push({
      origin: 'python',
      place: root ?? 'Python',
      why: seen?.problem ?? 'no set-up has looked there for an installed torch',
    });
    return null;
  }
  return {
    root,
    version: seen.version,
    cuda: seen.cuda,
    origin: 'python',
    why: `set-up found torch ${seen.version} installed for Python`,
  };
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {Platform} platform
 * @param {boolean} headers
 * @param {Refusal[]} tried
 * @returns {LibTorch | null}
 */
function findInCache(env, platform, headers, tried) {
  let folder;
  try {
    folder = libtorchCache(env);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    tried.push({
      origin: 'cache',
      place: 'the cache',
      why: 'this user has no home folder and SIGHTLINE_CACHE is not set',
    });
    return null;
  }
  const unreadable = deniedPart(folder);
  if (unreadable !== null) {
    tried.push({
      origin: 'cache',
      place: folder,
      why: `this user may not read ${unreadable}; SIGHTLINE_CACHE can name a folder that all its users can read`,
    });
    return null;
  }
  /** @type {LibTorch[]} */
  const usable = [];
  for (const name of isFolder(folder) ? readdirSync(folder).sort() : []) {
    if (!/^\d+\.\d+\.\d+-/.test(name)) continue; // downloads and unfinished unpackings
    // CUDA builds lie one folder deeper, beside the NVIDIA libraries that their run path expects at ../../nvidia.
    const root = isFolder(path.join(folder, name, 'torch'))
      ? path.join(folder, name, 'torch')
      : path.join(folder, name);
    const seen = inspectLibTorch(root, platform, headers);
    if (seen.problem !== null) tried.push({ origin: 'cache', place: root, why: seen.problem });
    else {
      usable.push({
        root,
        version: seen.version,
        cuda: seen.cuda,
        origin: 'cache',
        why: `it lies in the cache ${folder}`,
      });
    }
  }
  if (usable.length === 0) {
    tried.push({
      origin: 'cache',
      place: folder,
      why: isFolder(folder) ? 'no usable LibTorch lies there' : 'there is no such folder yet',
    });
    return null;
  }
  // A CUDA build also runs on the CPU, so whoever fetched one wants it.
  usable.sort((a, b) => Number(b.cuda !== null) - Number(a.cuda !== null) || compareVersions(b.version, a.version));
  return usable[0] ?? null;
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {Platform} platform
 * @param {boolean} headers
 * @param {Refusal[]} tried
 * @returns {LibTorch | null}
 */
function findInPython(env, platform, headers, tried) {
  const interpreters = [env.VIRTUAL_ENV, env.CONDA_PREFIX]
    .filter((prefix) => prefix !== undefined && prefix !== '')
    .map((prefix) => path.join(/** @type {string} */ (prefix), 'bin', 'python'));
  interpreters.push('python3', 'python');
  const seenRoots = new Set();
  for (const python of interpreters) {
    // find_spec does not import torch, which takes seconds; run in / so that no ./torch of the user is found.
    const program =
      "import importlib.util as u\ns = u.find_spec('torch')\nprint(next(iter(s.submodule_search_locations or [])) if s else '')";
    const answer = spawnSync(python, ['-c', program], { env, cwd: '/', encoding: 'utf8', timeout: 20_000 });
    if (answer.error !== undefined || answer.status !== 0) {
      const missing = /** @type {NodeJS.ErrnoException | undefined} */ (answer.error)?.code === 'ENOENT';
      tried.push({ origin: 'python', place: python, why: missing ? 'there is no such program' : 'it did not run' });
      continue;
    }
    const folder = answer.stdout.trim();
    if (folder === '') {
      tried.push({ origin: 'python', place: python, why: 'it has no torch installed' });
      continue;
    }
    const root = realpathSync(folder);
    if (seenRoots.has(root)) continue;
    seenRoots.add(root);
    const seen = inspectLibTorch(root, platform, headers);
    if (seen.problem === null) {
      return {
        root,
        version: seen.version,
        cuda: seen.cuda,
        origin: 'python',
        why: `${python} has torch ${seen.version} installed`,
      };
    }
    tried.push({ origin: 'python', place: root, why: seen.problem });
  }
  return null;
}
