// How CMake compiles each C++ source by itself, for what looks at sources one by one.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { findLibTorch } from '../lib/setup/libtorch.mjs';
import { ROOT, sources } from './python.mjs';

/** @typedef {{ readonly file: string, readonly directory: string, readonly command: string }} CompileCommand */

/**
 * Writes compile_commands.json into a folder: each source by itself, without what only GCC or ccache understands.
 * @param {string} out
 * @returns {ReadonlyMap<string, CompileCommand>} by path from the root, as `sources` has them
 */
export function compileCommands(out) {
  const { found } = findLibTorch();
  if (found === null) {
    throw new Error('There is no LibTorch here: run npm run build, which fetches one, or set LIBTORCH.');
  }
  const definitions = {
    SIGHTLINE_LIBTORCH: found.root,
    SIGHTLINE_OUTPUT: out,
    SIGHTLINE_UNITY: 'OFF',
    SIGHTLINE_CCACHE: 'OFF',
    SIGHTLINE_CUDA_GRAPHS: 'OFF',
    SIGHTLINE_BUILD_TESTS: 'ON',
  };
  const { status } = spawnSync(
    process.execPath,
    [
      path.join(ROOT, 'node_modules/cmake-js/bin/cmake-js'),
      'configure',
      '--directory',
      ROOT,
      '--out',
      out,
      '--log-level',
      'error',
      ...Object.entries(definitions).map(([name, value]) => `--CD${name}=${value}`),
    ],
    { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  if (status !== 0) throw new Error(`CMake could not configure ${path.relative(ROOT, out)}, for the reason above.`);
  /** @type {CompileCommand[]} */
  const commands = JSON.parse(readFileSync(path.join(out, 'compile_commands.json'), 'utf8'));
  return new Map(commands.map((command) => [path.relative(ROOT, command.file), command]));
}

/**
 * Runs a program on each of the sources that were named, or on all, one for each core; prints what fails, and makes
 * that this process's exit code.
 * @param {ReadonlyMap<string, CompileCommand>} commands
 * @param {readonly string[]} named
 * @param {(command: CompileCommand, file: string) => readonly [program: string, args: readonly string[]]} programOf
 */
export async function onEachSource(commands, named, programOf) {
  const asked = named.map((file) => path.relative(ROOT, path.resolve(file)));
  const queue = (asked.length > 0 ? asked : sources('native/*.cc', 'test/native/*.cc')).filter((file) =>
    commands.has(file),
  );
  const count = queue.length;
  let failed = 0;
  async function work() {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const command = /** @type {CompileCommand} */ (commands.get(file));
      const found = await outputOf(...programOf(command, file), command.directory);
      if (found === null) continue;
      failed++;
      console.log(found.trimEnd());
    }
  }
  await Promise.all(Array.from({ length: os.availableParallelism() }, work));
  console.log(`${count - failed} of ${count} sources pass.`);
  process.exitCode = failed > 0 ? 1 : 0;
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} cwd
 * @returns {Promise<string | null>} what is found, or null
 */
function outputOf(program, args, cwd) {
  return new Promise((resolve, reject) => {
    let output = '';
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (text) => (output += text));
    child.stderr.on('data', (text) => (output += text));
    child.on('error', reject);
    child.on('close', (code) => resolve(code === 0 ? null : output));
  });
}
