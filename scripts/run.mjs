#!/usr/bin/env node
/**
 * `npm test`, `npm run demo` and the like straight after a clone: does whatever set-up is still to do, then the task.
 * It starts before any npm package is there, so it and what it imports at first use nothing but Node.
 *
 *   node scripts/run.mjs build|test|test:device|test:gpu|bench:gpu|pack:gpu|demo|zoo [arguments of the task]
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { chooseAddon } from '../lib/setup/addon.mjs';
import { buildNative } from './build-native.mjs';
import { buildTypeScript, hashTypeScriptInputs, isTypeScriptBuilt } from './build-typescript.mjs';
import { withLock } from './lock.mjs';
import { arePackagesInstalled, installPackages } from './npm-packages.mjs';
import { SetupError, runCommand } from '../lib/setup/setup-error.mjs';
import { setUpNative } from './setup.mjs';
import { PACKAGE_ROOT, Stamps } from '../lib/setup/stamps.mjs';
import { step } from './steps.mjs';
import { requireBuildTools, requireNode } from './tools.mjs';

const VITEST = path.join(PACKAGE_ROOT, 'node_modules', 'vitest', 'vitest.mjs');

/** @type {Record<string, { program: string[], env?: Record<string, string>, device?: true } | null>} */
const TASKS = {
  build: null,
  test: { program: [VITEST, 'run'] },
  'test:device': { program: [VITEST, 'run'], env: { SIGHTLINE_DEVICE: '1' }, device: true },
  'test:gpu': { program: [path.join(PACKAGE_ROOT, 'scripts', 'gpu', 'test.mjs')], device: true },
  'bench:gpu': { program: [path.join(PACKAGE_ROOT, 'bench', 'gpu', 'run.mjs')] },
  'pack:gpu': { program: [path.join(PACKAGE_ROOT, 'scripts', 'gpu', 'pack.mjs')] },
  demo: { program: [path.join(PACKAGE_ROOT, 'dist', 'demo', 'main.js')] },
  zoo: { program: [path.join(PACKAGE_ROOT, 'test', 'zoo', 'zoo.mjs')] },
};

async function setUp() {
  requireNode();
  const stamps = new Stamps();
  await withLock(path.join(PACKAGE_ROOT, 'build', '.setup.lock'), async () => {
    if (!arePackagesInstalled()) {
      if (stamps.read('native') === null) requireBuildTools();
      await step('npm packages', () => installPackages());
    }
    await setUpNative();
    if (!isTypeScriptBuilt(stamps.read('typescript')?.inputs)) {
      await step('TypeScript build', async () => {
        const inputs = hashTypeScriptInputs();
        await buildTypeScript();
        stamps.write('typescript', { inputs });
      });
    }
  });
}

/** @param {string[]} args */
async function main([name = '', ...rest]) {
  const task = Object.hasOwn(TASKS, name) ? TASKS[name] : undefined;
  if (task === undefined) {
    throw new SetupError(`There is no task "${name}": it is one of ${Object.keys(TASKS).join(', ')}.`);
  }
  await setUp();
  if (task === null) return 0;
  if (task.device) {
    const { libtorch } = chooseAddon();
    await step('emulated device', () => buildNative({ libtorch: libtorch.root, tests: 'device' }));
  }
  if (!existsSync(task.program[0] ?? '')) {
    throw new SetupError(`The task ${name} needs ${task.program[0]}, which is missing: run npm run build.`);
  }
  const child = spawn(process.execPath, [...task.program, ...rest], {
    cwd: PACKAGE_ROOT,
    stdio: 'inherit',
    env: { ...process.env, ...task.env },
  });
  // The terminal sends Ctrl-C to the task as well; this process waits for its end, so that the code passed on is the
  // task's.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 1 : constants.signals[signal])));
  });
}

await runCommand(() => main(process.argv.slice(2)));
