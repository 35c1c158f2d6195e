/**
 * `npm run pack:gpu`: one archive that carries the tests and measurements of GPUs to a machine without Node and
 * network. There it is unpacked, and `./gpu test:gpu` and `./gpu bench:gpu` build against the torch that is installed.
 *
 *   node scripts/gpu/pack.mjs [--out FILE]
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { SetupError, isMain, runCommand } from '../../lib/setup/setup-error.mjs';
import { PACKAGE_ROOT } from '../../lib/setup/stamps.mjs';
import { CARRIED } from '../npm-packages.mjs';

const MOST_BYTES = 60e6;
const NAME = 'sightline-gpu';

/** What of the repository goes along. The rest is prose, demonstrations and tests that no device takes part in. */
const CARRIED_PATHS = [
  'CMakeLists.txt',
  'LICENSE',
  'bench',
  'binding.gyp',
  'docs/cuda.md',
  'lib',
  'models',
  'native',
  'package-lock.json',
  'package.json',
  'scripts',
  'test/device',
  'test/gpu',
  'test/lifecycle',
  'test/native',
  'test/parity',
  'test/support',
  'tsconfig.json',
  'tsconfig.test.json',
  'vitest.config.ts',
];
const LEFT_OUT =
  /^(?:bench\/results\/|models\/demo\/|models\/efficientnet-lite0\.safetensors$|test\/native\/references\/|test\/parity\/(?:fullsize|methods|preprocess)\/)/;

/** Of packages what nothing runs: types, prose, sources of what is built, tests. */
const NOT_RUN = /^node_modules\/(?:.*\.(?:d\.[cm]?ts|md|txt)$|(?:zod\/src|bintrees\/test|undici\/docs)\/)/;

/** Besides what sightline itself needs: what builds the addon, and what runs the tests. */
const TOOLS = ['cmake-js', 'node-addon-api', 'vitest'];

const START = `#!/bin/sh
# sightline with a Node of its own: ./gpu test:gpu, ./gpu bench:gpu, or another task of scripts/run.mjs.
here=$(cd "$(dirname "$0")" && pwd)
PATH="$here/bin:$PATH" exec "$here/bin/node" "$here/scripts/run.mjs" "$@"
`;

const README = `sightline's tests and measurements of GPUs, for a machine with a C++20 compiler, CMake and a Python that has torch.

  ./gpu test:gpu                 builds, proves everything, ends in one table
  ./gpu bench:gpu --out FOLDER   measures, and writes JSON, plots and a page

LIBTORCH names another LibTorch than that of python3; VIRTUAL_ENV another Python.
`;

/** The folders of packages and of all that they need, as the lock file says. @param {string[]} names */
export function packagesFor(names, root = PACKAGE_ROOT) {
  const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  /** @type {Set<string>} */
  const found = new Set();
  /** @param {string} from @param {string} name */
  const add = (from, name) => {
    for (let base = from; ; base = base.slice(0, Math.max(0, base.lastIndexOf('node_modules/') - 1))) {
      const folder = path.posix.join(base, 'node_modules', name);
      if (packages[folder] !== undefined) return visit(folder);
      if (base === '') return;
    }
  };
  /** @param {string} folder */
  const visit = (folder) => {
    // Optional packages of other platforms are not there.
    if (found.has(folder) || !existsSync(path.join(root, folder))) return;
    found.add(folder);
    const { dependencies = {}, optionalDependencies = {} } = packages[folder];
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) add(folder, name);
  };
  for (const name of names) add('', name);
  return [...found].sort();
}

/** @param {string} program @param {string[]} args @param {string} [cwd] */
function run(program, args, cwd = PACKAGE_ROOT) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 1e8 });
  if (error !== undefined || status !== 0) {
    throw new SetupError(`${program} failed (${error?.message ?? stderr.trim()}): repair that and pack again.`);
  }
  return stdout;
}

/** Whether a file of the repository or of a package goes along. @param {string} file a path from the root */
export function isCarried(file) {
  if (LEFT_OUT.test(file) || NOT_RUN.test(file) || file.endsWith('.map')) return false;
  // The first pictures are enough, and one font is drawn with.
  if (/^models\/eval\/\d+\.png$/.test(file)) return /\/00[0-3]\.png$/.test(file);
  return !/^node_modules\/dejavu-fonts-ttf\/ttf\/(?!DejaVuSans(?:-Bold)?\.ttf)/.test(file);
}

/** Puts all that is carried into a folder. @param {string} folder */
export function stage(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(path.join(folder, 'bin'), { recursive: true });
  /** @param {string} name */
  const carry = (name) =>
    cpSync(path.join(PACKAGE_ROOT, name), path.join(folder, name), {
      recursive: true,
      // A package's own dependencies are packages themselves, and are carried where they are needed.
      filter: (source) =>
        isCarried(path.relative(PACKAGE_ROOT, source)) && !/\/node_modules\/.*\/node_modules(?:\/|$)/.test(source),
    });
  const listed = run('git', ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...CARRIED_PATHS]);
  for (const file of listed.split('\n')) {
    if (file !== '' && existsSync(path.join(PACKAGE_ROOT, file))) carry(file);
  }
  // The built TypeScript, and the stamp that says what it was built from.
  for (const name of ['dist', 'build/.stamps/typescript.json']) carry(name);
  const { dependencies } = JSON.parse(readFileSync(path.join(PACKAGE_ROOT, 'package.json'), 'utf8'));
  for (const name of packagesFor([...Object.keys(dependencies), ...TOOLS])) carry(name);
  const node = path.join(folder, 'bin', 'node');
  cpSync(process.execPath, node);
  // Names of its functions, for debuggers.
  run('strip', [node]);
  const commit = run('git', ['describe', '--always', '--dirty']).trim();
  writeFileSync(path.join(folder, CARRIED), `${JSON.stringify({ commit, node: process.version })}\n`);
  writeFileSync(path.join(folder, 'README.txt'), README);
  writeFileSync(path.join(folder, 'gpu'), START);
  chmodSync(path.join(folder, 'gpu'), 0o755);
}

/** @param {string[]} args */
function main(args) {
  const { values } = parseArgs({ args, options: { out: { type: 'string' } } });
  const archive = path.resolve(values.out ?? path.join(PACKAGE_ROOT, 'build', `${NAME}.tar.xz`));
  const staging = path.join(PACKAGE_ROOT, 'build', 'gpu-archive');
  stage(path.join(staging, NAME));
  rmSync(archive, { force: true });
  run('tar', ['--create', '--file', archive, '--use-compress-program', 'xz -6 --threads=0', NAME], staging);
  rmSync(staging, { recursive: true });
  const { size } = statSync(archive);
  const megabytes = (size / 1e6).toFixed(1);
  if (size > MOST_BYTES) {
    throw new SetupError(
      `${archive} has ${megabytes} MB, more than ${MOST_BYTES / 1e6}: carry less (scripts/gpu/pack.mjs).`,
    );
  }
  console.log(`${archive}: ${megabytes} MB; on the other machine: tar xf ${NAME}.tar.xz && ${NAME}/gpu test:gpu`);
}

if (isMain(import.meta.url)) await runCommand(async () => main(process.argv.slice(2)));
