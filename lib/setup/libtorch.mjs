/**
 * Finds the LibTorch to build and run against: `LIBTORCH`, then the project's cache, then an installed Python torch.
 * Nothing is downloaded here (see scripts/fetch-libtorch.mjs) and nothing but Node is needed.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, readdirSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { libtorchCache } from './cache-folder.mjs';
import { SetupError } from './setup-error.mjs';

/** The first and the last supported minor version. One addon binary fits one minor version only. */
export const SUPPORTED = Object.freeze({ first: '2.11', last: '2.15' });

/** @typedef {import('./libtorch.mjs').LibTorch} LibTorch */
/** @typedef {import('./libtorch.mjs').Refusal} Refusal */
/** @typedef {import('./libtorch.mjs').Platform} Platform */

/** @returns {Platform} */
export function currentPlatform() {
  let glibc = null;
  if (process.platform === 'linux') {
    const report = /** @type {any} */ (process.report);
    report.excludeNetwork = true; // else it looks up the host names of open connections
    glibc = report.getReport().header.glibcVersionRuntime ?? null;
  }
  return { os: process.platform, arch: process.arch, glibc };
}

/**
 * Throws a one-sentence SetupError where no LibTorch exists for the platform.
 * @param {Platform} platform
 */
export function requirePlatform(platform) {
  if (platform.os !== 'linux' || !['x64', 'arm64'].includes(platform.arch)) {
    throw new SetupError(`sightline runs on Linux x64 and arm64, not on ${platform.os} ${platform.arch}: use such a machine, or a Linux container with glibc.`);
  }
  if (platform.glibc === null) {
    throw new SetupError('LibTorch exists for glibc only and this system uses another C library (musl, as in Alpine): use a Debian, Ubuntu or Fedora based system or image.');
  }
  if (compareVersions(platform.glibc, '2.28') < 0) {
    throw new SetupError(`LibTorch needs glibc 2.28 or later and this system has ${platform.glibc}: use a newer distribution, such as Debian 11 or Ubuntu 20.04.`);
  }
}

/**
 * The search, in order. A `LIBTORCH` that is set but wrong is an error and never skipped: its owner meant it.
 * `remembered`: in place of asking Python, the root that it answered with before, or null.
 * @param {import('./libtorch.mjs').SearchOptions} [options]
 * @returns {import('./libtorch.mjs').Search}
 */
export function findLibTorch({ env = process.env, cwd = '', platform = currentPlatform(), headers = true, remembered } = {}) {
  requirePlatform(platform);
  /** @type {Refusal[]} */
  const tried = [];

  if (env.LIBTORCH) {
    const root = path.resolve(cwd, env.LIBTORCH);
    const seen = inspectLibTorch(root, platform, headers);
    if (seen.problem !== null) {
      throw new SetupError(`LIBTORCH is ${env.LIBTORCH}, but ${seen.problem}; point it at the folder that holds lib/ and include/ of LibTorch ${SUPPORTED.first} to ${SUPPORTED.last}, or unset it.`);
    }
    return { found: { root, version: seen.version, cuda: seen.cuda, origin: 'LIBTORCH', why: 'the environment variable LIBTORCH names it' }, tried };
  }
  tried.push({ origin: 'LIBTORCH', place: 'the environment variable LIBTORCH', why: 'it is not set' });

  const cached = findInCache(env, platform, headers, tried);
  if (cached !== null) return { found: cached, tried };

  const installed = remembered === undefined ? findInPython(env, platform, headers, tried) : recall(remembered, platform, headers, tried);
  return { found: installed, tried };
}

/**
 * Looks at one folder. `problem` is a clause that fits after "X is ..., but", or null when the folder can be used.
 * @param {string} root
 * @param {Platform} platform
 * @param {boolean} headers whether they must be there: they are needed to build, and not to run
 * @returns {import('./libtorch.mjs').Inspection}
 */
export function inspectLibTorch(root, platform = currentPlatform(), headers = true) {
  /** @param {string} problem @param {string | null} version @returns {import('./libtorch.mjs').Inspection} */
  const refuse = (problem, version = null) => ({ problem, version, cuda: null });

  const unreadable = deniedPart(path.join(root, 'lib'));
  if (unreadable !== null) return refuse(`this user may not read ${unreadable}`);
  if (!isFolder(root)) return refuse('there is no such folder');
  const lib = path.join(root, 'lib');
  for (const name of ['libc10.so', 'libtorch_cpu.so', 'libtorch.so']) {
    if (!existsSync(path.join(lib, name))) return refuse(`lib/${name} is missing there`);
  }
  const version = readVersion(root);
  if (version === null) return refuse('its version cannot be read (no build-version, version.py or include/torch/headeronly/version.h)');
  if (!isSupported(version)) {
    const newer = compareVersions(version, SUPPORTED.last) > 0 ? ', since a newer LibTorch needs a newer sightline that was tested with it' : '';
    return refuse(`that is LibTorch ${version} and sightline needs ${SUPPORTED.first} to ${SUPPORTED.last}${newer}`, version);
  }
  if (headers && !existsSync(path.join(root, 'include', 'torch', 'script.h'))) return refuse('include/torch/script.h is missing there (its headers are not installed)', version);

  const c10 = readFileSync(path.join(lib, 'libc10.so'));
  const arch = elfArch(c10);
  if (arch !== platform.arch) return refuse(`it was built for ${arch ?? 'another machine'} and Node runs on ${platform.arch}`, version);
  if (!hasNewStringAbi(c10)) return refuse('it was built with the old C++ ABI (_GLIBCXX_USE_CXX11_ABI=0), which sightline cannot link', version);
  return { problem: null, version, cuda: readCuda(root, version) };
}

/**
 * Whether a version such as `2.13.0+cpu` is one that sightline compiles against.
 * @param {string} version
 */
export function isSupported(version) {
  const minor = /^\d+\.\d+/.exec(version)?.[0];
  return minor !== undefined && compareVersions(minor, SUPPORTED.first) >= 0 && compareVersions(minor, SUPPORTED.last) <= 0;
}

/**
 * Orders dotted numbers: negative when `a` is the older one.
 * @param {string} a
 * @param {string} b
 */
export function compareVersions(a, b) {
  const [left, right] = [a, b].map((version) => version.split(/[.+-]/).map((part) => Number.parseInt(part, 10) || 0));
  for (let i = 0; i < 3; i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
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
    tried.push({ origin: 'python', place: root ?? 'Python', why: seen?.problem ?? 'no set-up has looked there for an installed torch' });
    return null;
  }
  return { root, version: seen.version, cuda: seen.cuda, origin: 'python', why: `set-up found torch ${seen.version} installed for Python` };
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
    tried.push({ origin: 'cache', place: 'the cache', why: 'this user has no home folder and SIGHTLINE_CACHE is not set' });
    return null;
  }
  const unreadable = deniedPart(folder);
  if (unreadable !== null) {
    tried.push({ origin: 'cache', place: folder, why: `this user may not read ${unreadable}; SIGHTLINE_CACHE can name a folder that all its users can read` });
    return null;
  }
  /** @type {LibTorch[]} */
  const usable = [];
  for (const name of isFolder(folder) ? readdirSync(folder).sort() : []) {
    if (!/^\d+\.\d+\.\d+-/.test(name)) continue; // downloads and unfinished unpackings
    // CUDA builds lie one folder deeper, beside the NVIDIA libraries that their run path expects at ../../nvidia.
    const root = isFolder(path.join(folder, name, 'torch')) ? path.join(folder, name, 'torch') : path.join(folder, name);
    const seen = inspectLibTorch(root, platform, headers);
    if (seen.problem !== null) tried.push({ origin: 'cache', place: root, why: seen.problem });
    else usable.push({ root, version: seen.version, cuda: seen.cuda, origin: 'cache', why: `it lies in the cache ${folder}` });
  }
  if (usable.length === 0) {
    tried.push({ origin: 'cache', place: folder, why: isFolder(folder) ? 'no usable LibTorch lies there' : 'there is no such folder yet' });
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
    const program = "import importlib.util as u\ns = u.find_spec('torch')\nprint(next(iter(s.submodule_search_locations or [])) if s else '')";
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
      return { root, version: seen.version, cuda: seen.cuda, origin: 'python', why: `${python} has torch ${seen.version} installed` };
    }
    tried.push({ origin: 'python', place: root, why: seen.problem });
  }
  return null;
}

/** @param {string} root @returns {string | null} */
function readVersion(root) {
  const stated = readIfThere(path.join(root, 'build-version'))?.trim();
  if (stated !== undefined && /^\d+\.\d+/.test(stated)) return stated;
  const python = /^__version__\s*=\s*'([^']+)'/m.exec(readIfThere(path.join(root, 'version.py')) ?? '')?.[1];
  if (python !== undefined) return python;
  for (const header of ['include/torch/headeronly/version.h', 'include/torch/csrc/api/include/torch/version.h']) {
    const text = readIfThere(path.join(root, header)) ?? '';
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map((part) => new RegExp(`^#define TORCH_VERSION_${part} (\\d+)`, 'm').exec(text)?.[1]);
    if (parts.every((part) => part !== undefined)) return parts.join('.');
  }
  return null;
}

/** @param {string} root @param {string} version @returns {string | null} */
function readCuda(root, version) {
  if (!existsSync(path.join(root, 'lib', 'libtorch_cuda.so'))) return null;
  const digits = /\+cu(\d+)(\d)$/.exec(version);
  if (digits !== null) return `${digits[1]}.${digits[2]}`;
  return /^cuda[^=]*=\s*'([^']+)'/m.exec(readIfThere(path.join(root, 'version.py')) ?? '')?.[1] ?? 'unknown';
}

/** @param {Buffer} file @returns {string | null} */
function elfArch(file) {
  if (file.length < 20 || file.readUInt32BE(0) !== 0x7f454c46) return null;
  const machine = file.readUInt16LE(18);
  return machine === 62 ? 'x64' : machine === 183 ? 'arm64' : null;
}

/**
 * Whether the library's interface uses the std::string of C++11: looks for the constructor of c10::Error by its
 * mangled name, since Node has no symbol table reader.
 * @param {Buffer} file
 */
function hasNewStringAbi(file) {
  for (let at = file.indexOf('_ZN3c105ErrorC'); at !== -1; at = file.indexOf('_ZN3c105ErrorC', at + 1)) {
    if (file.subarray(at, file.indexOf(0, at)).includes('St7__cxx1112basic_string')) return true;
  }
  return false;
}

/** @param {string} file */
function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** @param {string} folder */
function isFolder(folder) {
  try {
    return statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true;
  } catch {
    return false; // such as a name that is too long, or one below a file
  }
}

/**
 * The folder on the way that this user may not enter or list, or null. What is not there at all is not denied.
 * @param {string} folder
 */
function deniedPart(folder) {
  let part = '';
  for (const name of folder.split(path.sep)) {
    part = name === '' ? part || path.sep : path.join(part, name);
    try {
      accessSync(part, part === folder ? constants.R_OK | constants.X_OK : constants.X_OK);
    } catch (error) {
      return /** @type {NodeJS.ErrnoException} */ (error).code === 'EACCES' ? part : null;
    }
  }
  return null;
}
