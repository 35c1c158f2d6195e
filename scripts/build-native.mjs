#!/usr/bin/env node
/**
 * Builds the addon with cmake-js against a LibTorch that is already here.
 *
 *   node scripts/build-native.mjs [--out FOLDER] [--tests | --device]
 *
 * `--tests`: the programs of test/native as well. `--device`: of those only the emulated device.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { findLibTorch } from '../lib/setup/libtorch.mjs';
import { SetupError, isMain, runCommand } from '../lib/setup/setup-error.mjs';
import { PACKAGE_ROOT, SET_UP, hashInputs } from '../lib/setup/stamps.mjs';
import { requireBuildTools } from './tools.mjs';

const PROBE = path.join(PACKAGE_ROOT, 'scripts', 'probe.mjs');

/** Each compiler of a file with LibTorch's headers takes up to about 1.5 GB. */
const BYTES_PER_JOB = 2e9;

/** The addon with its loader, the emulated device beside it, and the engine's tests on that. */
const DEVICE_TARGETS = ['sightline', 'libtorch_loader', 'emulated_device', 'device_tests'];

/** Hash of the sources; the LibTorch that they are built against is the other half of a stamp's key. */
export function hashNativeSources() {
  return hashInputs({
    paths: ['CMakeLists.txt', 'native'].map((name) => path.join(PACKAGE_ROOT, name)),
    values: [process.arch, process.env.CXX ?? '', process.env.SIGHTLINE_SANITIZE ?? ''],
  });
}

/**
 * @param {object} options
 * @param {string} options.libtorch root folder
 * @param {string} [options.out] CMake's folder
 * @param {string} [options.output] the folder for the addon and its loader, whatever CMake's is
 * @param {string} [options.log] the file for all that is said
 * @param {string | null} [options.from] the node_modules that has cmake-js, where it is not among this package's own
 * @param {boolean} [options.cudaGraphs] false: what is built runs with every build of LibTorch
 * @param {boolean | 'device'} [options.tests] build the programs of test/native too, or only the emulated device
 * @param {NodeJS.ProcessEnv} [options.env]
 */
export async function buildNative({
  libtorch,
  out = path.join(PACKAGE_ROOT, 'build'),
  output = path.join(PACKAGE_ROOT, 'build', 'Release'),
  log = path.join(out, 'native.log'),
  from = null,
  cudaGraphs = true,
  tests = false,
  env = process.env,
}) {
  const bin = cmakeJs(from);
  dropForeignCache(out, libtorch, output);
  mkdirSync(out, { recursive: true });
  const definitions = {
    SIGHTLINE_LIBTORCH: libtorch,
    SIGHTLINE_OUTPUT: output,
    SIGHTLINE_CUDA_GRAPHS: cudaGraphs ? 'ON' : 'OFF',
    SIGHTLINE_SANITIZE: env.SIGHTLINE_SANITIZE ?? '',
    SIGHTLINE_BUILD_TESTS: tests === false ? 'OFF' : 'ON',
  };
  const shared = [
    '--directory',
    PACKAGE_ROOT,
    '--out',
    out,
    '--log-level',
    'error',
    ...Object.entries(definitions).map(([name, value]) => `--CD${name}=${value}`),
  ];
  // configure and build, not compile: that answers a compile error by cleaning everything and building it again.
  await run([bin, 'configure', ...shared], log, 'w', env);
  const targets = tests === 'device' ? DEVICE_TARGETS : [null];
  for (const target of targets) {
    const chosen = target === null ? [] : ['--target', target];
    await run([bin, 'build', '--parallel', String(jobs(env)), ...chosen, ...shared], log, 'a', env);
  }
}

/**
 * Loads the addon in a process of its own, since a library that is missing or of another version may end it.
 * @param {NodeJS.ProcessEnv} env
 * @returns {{ problem: string | null, versions: { cudaDevices: number } | null }}
 */
export function probeAddon(env = process.env) {
  const answer = spawnSync(process.execPath, [PROBE], { env, encoding: 'utf8' });
  if (answer.status === 0) return { problem: null, versions: JSON.parse(answer.stdout) };
  const said = /^sightline: (.+?)\.?$/m.exec(answer.stderr)?.[1] ?? /Error: (.+)/.exec(answer.stderr)?.[1];
  return {
    problem: said ?? (answer.signal ? `it ended its process with ${answer.signal}` : `exit code ${answer.status}`),
    versions: null,
  };
}

/** @param {string | null} from */
function cmakeJs(from) {
  try {
    // Its package.json has no exports, so the bin can be resolved wherever npm hoisted it to.
    const name = 'cmake-js/bin/cmake-js';
    return createRequire(import.meta.url).resolve(from === null ? name : path.join(from, name));
  } catch (error) {
    throw new SetupError('The npm package cmake-js is not installed: run npm ci.', { cause: error });
  }
}

/**
 * CMake refuses a cache from another place, and keeps the libraries found for another LibTorch: start from nothing
 * then.
 * @param {string} out
 * @param {string} libtorch
 * @param {string} output where addons for another LibTorch go too, as they will not follow the sources any more
 */
function dropForeignCache(out, libtorch, output) {
  const file = path.join(out, 'CMakeCache.txt');
  if (!existsSync(file)) return;
  const cache = readFileSync(file, 'utf8');
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(cache)?.[1];
  const before = /^SIGHTLINE_LIBTORCH:\w+=(.*)$/m.exec(cache)?.[1];
  if (home === PACKAGE_ROOT && before === libtorch) return;
  for (const name of ['CMakeCache.txt', 'CMakeFiles']) rmSync(path.join(out, name), { recursive: true, force: true });
  for (const name of existsSync(output) ? readdirSync(output) : []) {
    if (/^sightline.*\.node$/.test(name)) rmSync(path.join(output, name));
  }
}

/** @param {NodeJS.ProcessEnv} env */
function jobs(env) {
  const asked = Number(env.CMAKE_BUILD_PARALLEL_LEVEL);
  if (Number.isInteger(asked) && asked > 0) return asked;
  return Math.max(1, Math.min(os.availableParallelism(), Math.floor(os.totalmem() / BYTES_PER_JOB)));
}

/**
 * Runs one cmake-js command: steps such as "[3/9] Building ..." are shown, everything goes to the log, and a failure
 * becomes one sentence after the compiler's own words.
 * @param {string[]} args
 * @param {string} log
 * @param {'w' | 'a'} flags
 * @param {NodeJS.ProcessEnv} env
 */
async function run(args, log, flags, env) {
  const child = spawn(process.execPath, args, { cwd: PACKAGE_ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const file = createWriteStream(log, { flags });
  /** @type {string[]} */
  const lines = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      file.write(`${line}\n`);
      const step = /^\[\s*\d+(?:\/\d+|%)\] (?:Building|Linking) .*/.exec(line)?.[0];
      if (step !== undefined) console.error(`  ${step.replace(/CMakeFiles\/\w+\.dir\//, '')}`);
    });
  }
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  file.end();
  if (code !== 0) throw describeFailure(lines, log);
}

/** @param {string[]} lines @param {string} log */
function describeFailure(lines, log) {
  const text = lines.join('\n');
  const cmake = /CMake Error at [^\n]*:\s*\n([\s\S]*?)(?:\n\s*\n\s*\n|\n(?:Call Stack|-- |\S))/
    .exec(text)?.[1]
    ?.replace(/\s+/g, ' ')
    .trim();
  if (cmake !== undefined && cmake !== '') return new SetupError(cmake);
  if (/Killed signal terminated program|virtual memory exhausted|internal compiler error: Killed/.test(text)) {
    return new SetupError(
      `The compiler ran out of memory: free some, or build with one process at a time (CMAKE_BUILD_PARALLEL_LEVEL=1 ${SET_UP}).`,
    );
  }
  const shown = lines.filter((line) => !/^\[\s*\d+(?:\/\d+|%)\]/.test(line)).slice(-60);
  if (shown.length > 0) console.error(shown.join('\n'));
  const first =
    lines.find((line) => /\b(?:fatal )?error: |undefined reference to|^collect2: /.test(line)) ??
    lines.find((line) => /error/i.test(line));
  return new SetupError(
    `The native build failed${first === undefined ? '' : ` (${first.replace(`${PACKAGE_ROOT}/`, '').trim()})`}: repair that and run ${SET_UP}; all its output is in ${path.relative(process.cwd(), log) || log}.`,
  );
}

/** @param {string[]} args */
async function main(args) {
  const { values } = parseArgs({
    args,
    options: { out: { type: 'string' }, tests: { type: 'boolean' }, device: { type: 'boolean' } },
  });
  const { found } = findLibTorch();
  if (found === null) {
    throw new SetupError('There is no LibTorch here: run node scripts/setup.mjs, which fetches one, or set LIBTORCH.');
  }
  requireBuildTools();
  await buildNative({
    libtorch: found.root,
    ...(values.out === undefined ? {} : { out: path.resolve(PACKAGE_ROOT, values.out) }),
    ...(values.tests ? { tests: true } : values.device ? { tests: 'device' } : {}),
  });
}

if (isMain(import.meta.url)) await runCommand(() => main(process.argv.slice(2)));
