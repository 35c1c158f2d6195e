#!/usr/bin/env node
/**
 * Makes the addons that come with the package, one for each minor version of LibTorch, in prebuilds/<platform>-<arch>.
 * What it builds against comes out of the wheels, or is the LibTorch that is found here where its version is the one.
 *
 *   node scripts/prebuild.mjs [--only 2.13]...
 */
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { PREBUILDS, minorOf, prebuiltName } from '../lib/setup/addon.mjs';
import { buildNative } from './build-native.mjs';
import { downloadTorchWheel, placeOfWheel } from './fetch-libtorch.mjs';
import { SUPPORTED, findLibTorch, inspectLibTorch } from '../lib/setup/libtorch.mjs';
import { findPip } from './pip.mjs';
import { SetupError, isMain, runCommand } from '../lib/setup/setup-error.mjs';
import { PACKAGE_ROOT } from '../lib/setup/stamps.mjs';
import { step } from './steps.mjs';
import { newerSymbols } from './symbol-versions.mjs';
import { requireBuildTools } from './tools.mjs';
import { unpack } from './unpack.mjs';

/** Of a wheel, what a build reads. The libraries of CUDA, most of its size, are not among it. */
const NEEDED = /^(include\/.*|version\.py|lib\/lib(c10|torch|torch_cpu)\.so)$/;

/** Every supported minor version, oldest first. */
export function supportedMinors() {
  const [first, last] = [SUPPORTED.first, SUPPORTED.last].map((version) => version.split('.').map(Number));
  const [major, from, to] = [first?.[0] ?? 0, first?.[1] ?? 0, last?.[1] ?? 0];
  return Array.from({ length: to - from + 1 }, (_, i) => `${major}.${from + i}`);
}

/** @param {string} minor */
async function prebuild(minor) {
  const work = path.join(PACKAGE_ROOT, 'build', 'prebuild', minor);
  const output = path.join(work, 'addon');
  await rm(work, { recursive: true, force: true });
  await mkdir(output, { recursive: true });
  const libtorch =
    atHand(minor) ??
    (await step(`LibTorch ${minor} out of a wheel`, () => fromWheel(minor, path.join(work, 'libtorch'))));
  await step(`addon for LibTorch ${minor}`, async () => {
    await buildNative({ libtorch, out: path.join(work, 'cmake'), output, cudaGraphs: false });
    await mkdir(PREBUILDS, { recursive: true });
    for (const name of await readdir(output)) {
      const file = path.join(output, name);
      const stripped = spawnSync('strip', ['--strip-unneeded', file], { encoding: 'utf8' });
      if (stripped.status !== 0) {
        throw new SetupError(
          `strip, which comes with the compiler (binutils), cannot strip ${file}: ${stripped.error?.message ?? stripped.stderr.trim()}.`,
        );
      }
      const newer = newerSymbols(file);
      if (newer.length > 0) {
        throw new SetupError(
          `${name} asks for symbols that older systems with LibTorch lack (${newer.join(', ')}): define them in native/portable/old_symbols.cc.`,
        );
      }
      await rename(file, path.join(PREBUILDS, prebuiltName(name)));
    }
  });
  await rm(work, { recursive: true, force: true });
}

/** The LibTorch that is here, where it is of that version. @param {string} minor */
function atHand(minor) {
  const { found } = findLibTorch();
  return found !== null && minorOf(found.version) === minor ? found.root : null;
}

/**
 * A build for the CPU where an index has it, since it is smaller; any other does as well.
 * @param {string} minor
 * @param {string} root
 */
async function fromWheel(minor, root) {
  const into = path.join(root, '..', 'wheel');
  const wheel = await downloadTorchWheel({
    python: findPip(process.env),
    requirements: [`torch==${minor}.*`],
    arch: process.arch,
    into,
    env: process.env,
  });
  await unpack({
    archive: wheel,
    into: root,
    label: `unpacking LibTorch ${minor}`,
    place: (name) => {
      const target = placeOfWheel(name);
      return target !== null && NEEDED.test(target) ? target : null;
    },
  });
  await rm(into, { recursive: true, force: true });
  const seen = inspectLibTorch(root);
  if (seen.problem !== null) throw new SetupError(`${path.basename(wheel)} is not usable: ${seen.problem}.`);
  return root;
}

/** @param {string[]} args */
async function main(args) {
  const { values } = parseArgs({ args, options: { only: { type: 'string', multiple: true } } });
  const all = supportedMinors();
  const wrong = values.only?.find((minor) => !all.includes(minor));
  if (wrong !== undefined) throw new SetupError(`--only is ${wrong}, which is none of ${all.join(', ')}.`);
  requireBuildTools();
  for (const minor of values.only ?? all) await prebuild(minor);
  for (const name of (await readdir(PREBUILDS)).sort()) {
    console.log(path.join(path.relative(process.cwd(), PREBUILDS), name));
  }
}

if (isMain(import.meta.url)) await runCommand(() => main(process.argv.slice(2)));
