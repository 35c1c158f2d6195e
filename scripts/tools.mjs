/**
 * The tools that the native build needs. Each one that is missing or too old is one sentence with the way to get it.
 */
import { spawnSync } from 'node:child_process';
import { compareVersions } from '../lib/setup/libtorch.mjs';
import { SetupError } from '../lib/setup/setup-error.mjs';

const NODE = '20.19.0';
const CMAKE = '3.18';
const GET_COMPILER = 'Debian and Ubuntu: apt install g++; Fedora: dnf install gcc-c++';
const GET_CMAKE = 'Debian and Ubuntu: apt install cmake; Fedora: dnf install cmake';

export function requireNode(version = process.versions.node) {
  if (compareVersions(version, NODE) < 0) {
    throw new SetupError(
      `sightline needs Node ${NODE} or later and this is ${version}: install a current Node, for instance with nvm install --lts.`,
    );
  }
}

/** @param {NodeJS.ProcessEnv} env */
export function requireBuildTools(env = process.env) {
  requireCompiler(env);
  requireCMake(env);
}

/** @param {NodeJS.ProcessEnv} env */
export function requireCompiler(env = process.env) {
  const compiler = findCompiler(env);
  if (compiler === null) {
    throw new SetupError(
      env.CXX
        ? `CXX is ${env.CXX}, but there is no such compiler: unset CXX, or install it.`
        : `There is no C++ compiler: install g++ 11 or clang 14 or later (${GET_COMPILER}).`,
    );
  }
  if (!compilesCxx20(compiler.program, env)) {
    throw new SetupError(
      `${compiler.program} (${compiler.version}) does not compile C++20: install g++ 11 or clang 14 or later (${GET_COMPILER}) and set CXX if it is not the default.`,
    );
  }
}

/** @param {NodeJS.ProcessEnv} env */
export function requireCMake(env = process.env) {
  const cmake = findCMake(env);
  if (cmake === null) throw new SetupError(`There is no CMake: install version ${CMAKE} or later (${GET_CMAKE}).`);
  if (compareVersions(cmake, CMAKE) < 0) {
    throw new SetupError(`CMake ${cmake} is too old: install version ${CMAKE} or later (${GET_CMAKE}).`);
  }
  if (!['ninja', 'make', 'gmake'].some((program) => runs(program, env))) {
    throw new SetupError(
      'There is neither make nor ninja, with one of which CMake builds: install one (Debian and Ubuntu: apt install ninja-build; Fedora: dnf install ninja-build).',
    );
  }
}

/**
 * The compiler that CMake will take: CXX, else the first of its own candidates.
 * @param {NodeJS.ProcessEnv} env
 * @returns {{ program: string, version: string } | null}
 */
export function findCompiler(env = process.env) {
  for (const program of env.CXX ? [env.CXX] : ['c++', 'g++', 'clang++']) {
    const [name = program, ...flags] = program.split(/\s+/);
    const answer = spawnSync(name, [...flags, '--version'], { env, encoding: 'utf8' });
    if (answer.status === 0) return { program, version: answer.stdout.split('\n')[0]?.trim() ?? '' };
  }
  return null;
}

/** @param {NodeJS.ProcessEnv} env @returns {string | null} the version */
export function findCMake(env = process.env) {
  const answer = spawnSync('cmake', ['--version'], { env, encoding: 'utf8' });
  return answer.status === 0 ? (/cmake version ([\d.]+)/.exec(answer.stdout)?.[1] ?? null) : null;
}

/** A program that uses the language and the library of C++20, as the version number alone says little of clang's. */
const CXX20 =
  '#include <concepts>\n#include <span>\ntemplate <std::integral T> T f(std::span<T> s) { return s[0]; }\nint main() { int a[1] = {0}; return f(std::span<int>(a)); }\n';

/** @param {string} program @param {NodeJS.ProcessEnv} env */
export function compilesCxx20(program, env = process.env) {
  const [name = program, ...flags] = program.split(/\s+/);
  return (
    spawnSync(name, [...flags, '-std=c++20', '-fsyntax-only', '-x', 'c++', '-'], { env, input: CXX20 }).status === 0
  );
}

/** @param {string} program @param {NodeJS.ProcessEnv} env */
function runs(program, env) {
  return spawnSync(program, ['--version'], { env, stdio: 'ignore' }).status === 0;
}
