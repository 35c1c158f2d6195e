import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What models/requirements.txt pins, as far as a fresh export depends on it. */
const PACKAGES = ['torch', 'timm', 'transformers'];

/**
 * A Python with the releases that the skeletons are made with: SIGHTLINE_PYTHON, else python3. Null where there is
 * none; one line then says how to get it.
 */
export function findPython(): string | null {
  const pinned = new Map(
    readFileSync(`${ROOT}models/requirements.txt`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split('=='))
      .filter((pair): pair is [string, string] => pair.length === 2),
  );
  const wanted = PACKAGES.map((name) => [name, pinned.get(name)!] as const);
  const python = process.env['SIGHTLINE_PYTHON'] ?? 'python3';
  const { stdout, status } = spawnSync(
    python,
    ['-c', `from importlib.metadata import version\nfor name in ${JSON.stringify(PACKAGES)}: print(version(name))`],
    { encoding: 'utf8' },
  );
  // A local build of a release calls itself 2.13.0+cpu.
  const found = status === 0 ? stdout.split('\n').map((line) => line.split('+')[0]) : [];
  if (wanted.every(([, version], i) => found[i] === version)) return python;
  const problem = `${python} has not ${wanted.map(([name, version]) => `${name} ${version}`).join(', ')}`;
  if (process.env['SIGHTLINE_PYTHON'] !== undefined) throw new Error(`SIGHTLINE_PYTHON: ${problem}.`);
  console.log(
    `Not compared with the libraries: ${problem}. Run "python3 -m venv .venv && .venv/bin/pip install -r models/requirements.txt" and set SIGHTLINE_PYTHON=.venv/bin/python.`,
  );
  return null;
}

/**
 * Runs a script with one thread, in the repository's root; its standard output. Warnings of the libraries are not
 * shown.
 */
export function runPython(python: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, OMP_NUM_THREADS: '1', HF_HUB_OFFLINE: '1' };
    execFile(python, ['-W', 'ignore', ...args], { cwd: ROOT, env, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${args.join(' ')}: ${stdout}${stderr}`));
      else resolve(stdout);
    });
  });
}
