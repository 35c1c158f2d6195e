// `npm run lint:tidy [-- FILE...]`: clang-tidy on the C++ sources. Takes about ten seconds a file, so `npm run lint` leaves it out.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { findLibTorch } from '../lib/setup/libtorch.mjs';
import { pythonTools, ROOT, sources } from './python.mjs';

const OUT = path.join(ROOT, 'build/tidy');

/** Writes compile_commands.json: each source by itself, without what only GCC or ccache understands. */
function configure() {
  const { found } = findLibTorch();
  if (found === null) throw new Error('There is no LibTorch here: run npm run build, which fetches one, or set LIBTORCH.');
  const definitions = { SIGHTLINE_LIBTORCH: found.root, SIGHTLINE_OUTPUT: OUT, SIGHTLINE_UNITY: 'OFF', SIGHTLINE_CCACHE: 'OFF', SIGHTLINE_CUDA_GRAPHS: 'OFF' };
  const { status } = spawnSync(
    process.execPath,
    [path.join(ROOT, 'node_modules/cmake-js/bin/cmake-js'), 'configure', '--directory', ROOT, '--out', OUT, '--log-level', 'error', ...Object.entries(definitions).map(([name, value]) => `--CD${name}=${value}`)],
    { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  if (status !== 0) throw new Error('CMake could not configure build/tidy, for the reason above.');
}

/** @param {string} program @param {string} file @returns {Promise<string | null>} what is found, or null */
function check(program, file) {
  return new Promise((resolve, reject) => {
    let output = '';
    const child = spawn(program, ['-p', OUT, '--quiet', file], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (text) => (output += text));
    child.stderr.on('data', (text) => (output += text));
    child.on('error', reject);
    child.on('close', (code) => resolve(code === 0 ? null : output));
  });
}

configure();
/** @type {{ file: string }[]} */
const commands = JSON.parse(readFileSync(path.join(OUT, 'compile_commands.json'), 'utf8'));
const compiled = new Set(commands.map(({ file }) => path.relative(ROOT, file)));
const asked = process.argv.slice(2).map((file) => path.relative(ROOT, path.resolve(file)));
const queue = (asked.length > 0 ? asked : sources('native/*.cc')).filter((file) => compiled.has(file));
const program = path.join(pythonTools(), 'clang-tidy');
let failed = 0;
async function work() {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const found = await check(program, file);
    if (found === null) continue;
    failed++;
    console.log(found.trimEnd());
  }
}
await Promise.all(Array.from({ length: os.availableParallelism() }, work));
process.exitCode = failed > 0 ? 1 : 0;
