import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

const REQUIREMENTS = path.join(ROOT, 'lint/requirements.txt');
const FOLDER = path.join(ROOT, 'build/lint');

/**
 * The folder of the programs that lint/requirements.txt pins. They are installed on the first call, and again when that
 * file changes.
 *
 * @returns {string}
 * @throws an Error with one sentence where Python or its index cannot be reached
 */
export function pythonTools() {
  const bin = path.join(FOLDER, 'bin');
  const stamp = path.join(FOLDER, 'installed');
  const wanted = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return bin;
  console.error('sightline: ruff, clang-format and clang-tidy are installed into build/lint ...');
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  must(
    'python3',
    ['-m', 'venv', FOLDER],
    'install Python 3.10 or later with venv (Debian and Ubuntu: apt install python3-venv)',
  );
  must(
    path.join(bin, 'python'),
    ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', REQUIREMENTS],
    'check the network, or the index in pip.conf',
  );
  writeFileSync(stamp, wanted);
  return bin;
}

/** @param {string} program @param {string[]} args @param {string} remedy */
function must(program, args, remedy) {
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`${path.basename(program)} ${args.join(' ')} failed: ${remedy}.`, { cause: error });
}

/** Files that git knows or would add, by their endings. @param {string[]} patterns such as `*.cc` */
export function sources(...patterns) {
  const { stdout, status } = spawnSync(
    'git',
    ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '-z', '--', ...patterns],
    { cwd: ROOT, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error('git ls-files failed: lint and format run in a clone.');
  return stdout.split('\0').filter((file) => file !== '' && existsSync(path.join(ROOT, file)));
}
