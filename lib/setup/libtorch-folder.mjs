/** Looks at one folder: whether it holds a LibTorch that this sightline can be built and run against. */
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { compareVersions, currentPlatform } from './platform.mjs';

/** The first and the last supported minor version. One addon binary fits one minor version only. */
export const SUPPORTED = Object.freeze({ first: '2.11', last: '2.15' });

/** @typedef {import('./libtorch.mjs').Platform} Platform */

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
  if (version === null) {
    return refuse('its version cannot be read (no build-version, version.py or include/torch/headeronly/version.h)');
  }
  if (!isSupported(version)) {
    const newer =
      compareVersions(version, SUPPORTED.last) > 0
        ? ', since a newer LibTorch needs a newer sightline that was tested with it'
        : '';
    return refuse(
      `that is LibTorch ${version} and sightline needs ${SUPPORTED.first} to ${SUPPORTED.last}${newer}`,
      version,
    );
  }
  if (headers && !existsSync(path.join(root, 'include', 'torch', 'script.h'))) {
    return refuse('include/torch/script.h is missing there (its headers are not installed)', version);
  }

  const c10 = readFileSync(path.join(lib, 'libc10.so'));
  const arch = elfArch(c10);
  if (arch !== platform.arch) {
    return refuse(`it was built for ${arch ?? 'another machine'} and Node runs on ${platform.arch}`, version);
  }
  if (!hasNewStringAbi(c10)) {
    return refuse('it was built with the old C++ ABI (_GLIBCXX_USE_CXX11_ABI=0), which sightline cannot link', version);
  }
  return { problem: null, version, cuda: readCuda(root, version) };
}

/**
 * Whether a version such as `2.13.0+cpu` is one that sightline compiles against.
 * @param {string} version
 */
export function isSupported(version) {
  const minor = /^\d+\.\d+/.exec(version)?.[0];
  return (
    minor !== undefined && compareVersions(minor, SUPPORTED.first) >= 0 && compareVersions(minor, SUPPORTED.last) <= 0
  );
}

/** @param {string} root @returns {string | null} */
function readVersion(root) {
  const stated = readIfThere(path.join(root, 'build-version'))?.trim();
  if (stated !== undefined && /^\d+\.\d+/.test(stated)) return stated;
  const python = /^__version__\s*=\s*'([^']+)'/m.exec(readIfThere(path.join(root, 'version.py')) ?? '')?.[1];
  if (python !== undefined) return python;
  for (const header of ['include/torch/headeronly/version.h', 'include/torch/csrc/api/include/torch/version.h']) {
    const text = readIfThere(path.join(root, header)) ?? '';
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map(
      (part) => new RegExp(`^#define TORCH_VERSION_${part} (\\d+)`, 'm').exec(text)?.[1],
    );
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
export function isFolder(folder) {
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
export function deniedPart(folder) {
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
