/**
 * `npm run test:gpu`: all that can be proven of the engine on a device that is not the CPU, in one table. What needs a
 * GPU says so where there is none.
 *
 *   node scripts/gpu/test.mjs [--out FOLDER]
 *
 * Exit codes: 0 when everything passed, 1 when something failed, 3 when nothing failed and there is no GPU.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { isMain, runCommand } from '../../lib/setup/setup-error.mjs';
import { PACKAGE_ROOT } from '../../lib/setup/stamps.mjs';
import { probeAddon } from '../build-native.mjs';

const VITEST = path.join(PACKAGE_ROOT, 'node_modules', 'vitest', 'vitest.mjs');
const EXIT = { passed: 0, failed: 1, noGpu: 3 };

/**
 * @typedef {object} Part
 * @property {string} name
 * @property {number} gpus how many it needs at least
 * @property {string[]} tests files or folders for vitest; none: the program of native tests
 */
/** @type {Part[]} */
const PARTS = [
  { name: 'engine on the emulated device', gpus: 0, tests: [] },
  { name: 'every method on the emulated device', gpus: 0, tests: ['test/device'] },
  { name: 'parity with PyTorch on the CPU', gpus: 0, tests: ['test/parity/parity.test.ts'] },
  { name: 'every method on the GPU', gpus: 1, tests: ['test/gpu/methods.test.ts', 'test/gpu/bundled.test.ts'] },
  { name: 'captures, requests, dtypes, batches', gpus: 1, tests: ['test/device'] },
  { name: 'parity with PyTorch on the GPU', gpus: 1, tests: ['test/gpu/parity.test.ts'] },
  { name: 'CUDA graphs', gpus: 1, tests: ['test/gpu/graphs.test.ts'] },
  { name: 'streams and copies', gpus: 1, tests: ['test/gpu/transfers.test.ts'] },
  { name: 'out of memory', gpus: 1, tests: ['test/gpu/out-of-memory.test.ts'] },
  { name: 'memory', gpus: 1, tests: ['test/gpu/device-memory.test.ts', 'test/gpu/resident-memory.test.ts'] },
  { name: 'several GPUs as one', gpus: 2, tests: ['test/gpu/pool.test.ts'] },
];

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {'PASS' | 'FAIL' | 'no GPU'} result
 * @property {string} tests
 * @property {number} seconds
 * @property {string} reason
 */

/** @param {string[]} command @param {NodeJS.ProcessEnv} env @returns {Promise<string>} how it ended */
function run([program = '', ...args], env) {
  return new Promise((resolve) => {
    // What is said goes by; the answer is the table.
    const child = spawn(program, args, { cwd: PACKAGE_ROOT, env, stdio: ['ignore', 2, 2] });
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(code === 0 ? '' : (signal ?? `exit code ${code}`)));
  });
}

/**
 * What a report of vitest says, which may be missing where the run broke.
 * @param {string} file
 * @param {string} ended
 * @returns {Pick<Row, 'result' | 'tests' | 'reason'>}
 */
export function readVitestReport(file, ended) {
  if (!existsSync(file)) return { result: 'FAIL', tests: '0', reason: `there is no report (${ended || 'it ended'})` };
  const { testResults, numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(file, 'utf8'));
  /** @type {string[]} */
  const reasons = [];
  for (const { status, message, name, assertionResults } of testResults) {
    const failed = assertionResults.filter((/** @type {{ status: string }} */ each) => each.status === 'failed');
    for (const { fullName, failureMessages } of failed) {
      reasons.push(`${fullName.trim()}: ${failureMessages[0]?.split('\n')[0] ?? ''}`);
    }
    if (status === 'failed' && failed.length === 0) reasons.push(`${path.basename(name)}: ${message.split('\n')[0]}`);
  }
  if (reasons.length === 0 && ended !== '') reasons.push(`vitest ended with ${ended}`);
  if (reasons.length === 0 && numPassedTests === 0) reasons.push('no test ran');
  const skipped = numPendingTests > 0 ? `, ${numPendingTests} skipped` : '';
  return {
    result: reasons.length === 0 ? 'PASS' : 'FAIL',
    tests: `${numPassedTests} of ${numPassedTests + numFailedTests}${skipped}`,
    reason: reasons.slice(0, 3).join('; ') + (reasons.length > 3 ? `; and ${reasons.length - 3} more` : ''),
  };
}

/** @param {Part} part @param {number} gpus @param {string} out @param {number} number @returns {Promise<Row>} */
async function runPart({ name, gpus: needed, tests }, gpus, out, number) {
  if (gpus < needed) {
    const reason = gpus === 0 ? 'LibTorch finds none' : `it takes ${needed}, and there is ${gpus}`;
    return { name, result: 'no GPU', tests: '', seconds: 0, reason };
  }
  console.error(`\n== ${name}`);
  const started = performance.now();
  /** @param {Pick<Row, 'result' | 'tests' | 'reason'>} seen @returns {Row} */
  const row = (seen) => ({ name, seconds: (performance.now() - started) / 1000, ...seen });
  if (tests.length === 0) {
    const ended = await run([path.join(PACKAGE_ROOT, 'build', 'device_tests'), 'test/parity/archives'], {
      ...process.env,
      GOMP_SPINCOUNT: '1000',
    });
    return row({ result: ended === '' ? 'PASS' : 'FAIL', tests: '1 program', reason: ended });
  }
  const report = path.join(out, `part-${number}.json`);
  rmSync(report, { force: true });
  const chosen =
    needed > 0 ? { SIGHTLINE_GPU: '1' } : tests[0]?.startsWith('test/device') ? { SIGHTLINE_DEVICE: '1' } : {};
  const args = ['run', ...tests, '--typecheck.enabled=false', '--reporter=default', '--reporter=json'];
  const ended = await run([process.execPath, VITEST, ...args, `--outputFile.json=${report}`], {
    ...process.env,
    ...chosen,
  });
  return row(readVitestReport(report, ended));
}

/** @param {Row[]} rows */
export function tableOf(rows) {
  const cells = [
    ['part', 'result', 'tests', 'time', 'reason'],
    ...rows.map(({ name, result, tests, seconds, reason }) => [
      name,
      result,
      tests,
      result === 'no GPU' ? '' : `${seconds.toFixed(0)} s`,
      reason,
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  return cells
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** @param {string[]} args */
async function main(args) {
  const { values } = parseArgs({ args, options: { out: { type: 'string' } } });
  const out = path.resolve(values.out ?? path.join(PACKAGE_ROOT, 'build', 'gpu-test'));
  mkdirSync(out, { recursive: true });
  const { problem, versions } = probeAddon();
  if (problem !== null) throw new Error(problem);
  const gpus = versions?.cudaDevices ?? 0;
  /** @type {Row[]} */
  const rows = [];
  for (const [number, part] of PARTS.entries()) rows.push(await runPart(part, gpus, out, number));
  writeFileSync(path.join(out, 'test-gpu.json'), `${JSON.stringify({ gpus, versions, rows }, null, 2)}\n`);
  console.log(`\n${tableOf(rows)}\n`);
  const failed = rows.filter(({ result }) => result === 'FAIL').length;
  if (failed > 0) {
    console.log(`FAIL: ${failed} of ${rows.length} parts failed.`);
    return EXIT.failed;
  }
  if (gpus === 0) {
    console.log('no GPU: nothing failed, and nothing was proven on a GPU.');
    return EXIT.noGpu;
  }
  console.log('PASS');
  return EXIT.passed;
}

if (isMain(import.meta.url)) await runCommand(() => main(process.argv.slice(2)));
