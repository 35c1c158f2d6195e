// `npm run lint`: every check on source text and on the package, as many at once as there are cores. All run, whatever
// fails.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pythonTools, ROOT } from './python.mjs';

const bin = (/** @type {string} */ name) => path.join(ROOT, 'node_modules/.bin', name);
if (!existsSync(path.join(ROOT, 'dist/index.d.ts'))) {
  throw new Error('dist/ is missing, whose types are checked: run npm run build first.');
}

/** The longest first. @type {[what: string, program: string, ...args: string[]][]} */
const checks = [
  ['ESLint', bin('eslint'), '.'],
  ['TypeScript, with the tests', bin('tsc'), '-p', 'tsconfig.test.json'],
  ['TypeScript of the page, with its tests', bin('tsc'), '-p', 'lib/page/tsconfig.json'],
  ['form', process.execPath, 'lint/format.mjs', '--check'],
  ['JavaScript of scripts/ and lint/', bin('tsc'), '-p', 'tsconfig.scripts.json'],
  ['types as others resolve them', bin('attw'), '--pack', '.', '--profile', 'node16'],
  ['the package', bin('publint'), '--strict'],
  ['Python', path.join(pythonTools(), 'ruff'), 'check', '--quiet'],
  ['the rooms of lib', 'npm', 'run', '--silent', 'lint:rooms'],
  ['the rooms of native', process.execPath, 'scripts/check-native-rooms.mjs'],
  ['workflows', process.execPath, 'lint/workflows.mjs'],
];

/** @param {[what: string, program: string, ...args: string[]]} check @returns {Promise<boolean>} */
function passes([what, program, ...args]) {
  const started = performance.now();
  let output = '';
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (text) => (output += text));
    child.stderr.on('data', (text) => (output += text));
    child.on('error', reject);
    child.on('close', (code) => {
      console.log(
        `${code === 0 ? 'passed' : 'FAILED'}  ${what}  (${((performance.now() - started) / 1000).toFixed(1)} s)`,
      );
      if (code !== 0) console.log(output.trimEnd());
      resolve(code === 0);
    });
  });
}

let failed = 0;
async function work() {
  for (let check = checks.shift(); check !== undefined; check = checks.shift()) if (!(await passes(check))) failed++;
}
await Promise.all(Array.from({ length: os.availableParallelism() }, work));
process.exitCode = failed > 0 ? 1 : 0;
