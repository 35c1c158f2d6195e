/** The machine that LibTorch and the addon are to run on, and the order of versions. */
import { SetupError } from './setup-error.mjs';

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
    throw new SetupError(
      `sightline runs on Linux x64 and arm64, not on ${platform.os} ${platform.arch}: use such a machine, or a Linux container with glibc.`,
    );
  }
  if (platform.glibc === null) {
    throw new SetupError(
      'LibTorch exists for glibc only and this system uses another C library (musl, as in Alpine): use a Debian, Ubuntu or Fedora based system or image.',
    );
  }
  if (compareVersions(platform.glibc, '2.28') < 0) {
    throw new SetupError(
      `LibTorch needs glibc 2.28 or later and this system has ${platform.glibc}: use a newer distribution, such as Debian 11 or Ubuntu 20.04.`,
    );
  }
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
