import { spawnSync } from 'node:child_process';
import { compareVersions } from '../lib/setup/libtorch.mjs';
import { SetupError } from '../lib/setup/setup-error.mjs';

/**
 * What LibTorch's own libraries ask for: where LibTorch loads, the addon must load too.
 * @type {Record<string, string>}
 */
const LIMITS = { GLIBC: '2.28', GLIBCXX: '3.4.22', CXXABI: '1.3.11', GCC: '3.4' };

/**
 * The symbols that a library asks for in a newer version than LibTorch does, such as `log@GLIBC_2.29`.
 * @param {string} file
 * @returns {string[]}
 */
export function newerSymbols(file) {
  return symbolVersions(file)
    .filter(({ library, version }) => LIMITS[library] === undefined || compareVersions(version, LIMITS[library]) > 0)
    .map(({ name, library, version }) => `${name}@${library}_${version}`);
}

/**
 * @param {string} file
 * @returns {{ name: string, library: string, version: string }[]} every symbol with a version that it asks others for
 */
export function symbolVersions(file) {
  const answer = spawnSync('objdump', ['-T', file], { encoding: 'utf8', maxBuffer: 1e9 });
  if (answer.status !== 0) {
    throw new SetupError(
      `objdump, which comes with the compiler (binutils), cannot read ${file}: ${answer.error?.message ?? answer.stderr.trim()}.`,
    );
  }
  return [...answer.stdout.matchAll(/\*UND\*\s+\S+\s+\(?(\w+?)_([\d.]+)\)?\s+(\S+)$/gm)].map(
    ([, library = '', version = '', name = '']) => ({ name, library, version }),
  );
}
