/**
 * Builds an addon for an installed package. Only the addon and its loader stay, in the cache; sources are read where
 * npm put them, and nothing there is written.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { builtAddons } from '../lib/setup/addon.mjs';
import { buildNative } from './build-native.mjs';
import { cacheFolder } from '../lib/setup/cache-folder.mjs';
import { npmCommand } from './npm-packages.mjs';
import { SetupError } from '../lib/setup/setup-error.mjs';
import { PACKAGE_ROOT } from '../lib/setup/stamps.mjs';
import { step } from './steps.mjs';

/** What a build needs of npm. Hardly anybody builds, so they are no dependencies: 39 packages. */
const TOOLS = ['cmake-js', 'node-addon-api'];

/**
 * To be called by one process at a time.
 * @param {string} libtorch root folder
 * @param {NodeJS.ProcessEnv} env
 */
export async function buildForPackage(libtorch, env) {
  const cache = cacheFolder(env);
  for (const name of readdirSync(cache)) {
    if (name.startsWith('.build-')) rmSync(path.join(cache, name), { recursive: true, force: true }); // of one that was killed
  }
  const scratch = mkdtempSync(path.join(cache, '.build-'));
  const log = path.join(cache, 'native-build.log');
  try {
    const modules = await toolsFolder(scratch, env);
    const output = path.join(scratch, 'addon');
    await buildNative({
      libtorch,
      out: path.join(scratch, 'cmake'),
      output,
      log,
      env: modules === null ? env : { ...env, NODE_PATH: modules },
      from: modules,
    });
    const target = builtAddons(env);
    mkdirSync(target, { recursive: true });
    for (const name of readdirSync(output)) renameSync(path.join(output, name), path.join(target, name));
    rmSync(log, { force: true });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * Where the tools are: null where they can be imported from here, as when a project has them for itself.
 * @param {string} scratch
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string | null>}
 */
async function toolsFolder(scratch, env) {
  const { resolve } = createRequire(import.meta.url);
  try {
    for (const name of TOOLS) resolve(`${name}/package.json`);
    return null;
  } catch {
    // Not here, as in most projects.
  }
  const { devDependencies } = JSON.parse(readFileSync(path.join(PACKAGE_ROOT, 'package.json'), 'utf8'));
  const folder = path.join(scratch, 'tools');
  mkdirSync(folder);
  await step(`${TOOLS.join(' and ')} for the build, from npm`, () => {
    const [program, ...before] = npmCommand(env);
    const answer = spawnSync(
      program,
      [
        ...before,
        'install',
        '--prefix',
        folder,
        '--no-save',
        '--no-audit',
        '--no-fund',
        '--ignore-scripts',
        ...TOOLS.map((name) => `${name}@${devDependencies[name]}`),
      ],
      {
        cwd: folder,
        env,
        encoding: 'utf8',
      },
    );
    if (answer.status !== 0) {
      throw new SetupError(
        `npm cannot install ${TOOLS.join(' and ')}, which the native build needs (${(answer.stderr ?? '').split('\n')[0] || answer.error?.message}): check the network, or install them in your project and run this again.`,
      );
    }
  });
  return path.join(folder, 'node_modules');
}
