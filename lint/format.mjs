// `npm run format [-- FILE...]` brings code and prose into form; `npm run format:check` says which files are not.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { pythonTools, ROOT, sources } from './python.mjs';

const { values, positionals } = parseArgs({
  options: { check: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const given = positionals.map((file) => path.relative(ROOT, path.resolve(file)));
/** @param {string[]} endings */
const files = (...endings) =>
  given.length > 0
    ? given.filter((file) => endings.some((ending) => file.endsWith(ending)))
    : sources(...endings.map((ending) => `*${ending}`));

const tools = pythonTools();
const { check } = values;
const formatters = [
  {
    program: path.join(ROOT, 'node_modules/.bin/prettier'),
    options: check ? ['--list-different'] : ['--write', '--log-level', 'warn'],
    of: files('.ts', '.mts', '.mjs', '.cjs', '.js', '.json', '.md', '.yml', '.yaml'),
  },
  {
    program: path.join(tools, 'clang-format'),
    options: check ? ['--dry-run', '--Werror'] : ['-i'],
    of: files('.cc', '.h'),
  },
  {
    program: path.join(tools, 'ruff'),
    options: check ? ['format', '--check', '--quiet'] : ['format', '--quiet'],
    of: files('.py'),
  },
];

let failed = 0;
for (const { program, options, of } of formatters) {
  if (of.length === 0) continue;
  const { status, error } = spawnSync(program, [...options, ...of], { cwd: ROOT, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) failed++;
}
if (failed > 0 && check) console.error('Some files are not in form: run npm run format.');
process.exitCode = failed > 0 ? 1 : 0;
