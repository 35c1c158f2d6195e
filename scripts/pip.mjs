import { spawn, spawnSync } from 'node:child_process';
import { mkdir, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { Progress } from './progress.mjs';
import { SetupError } from '../lib/setup/setup-error.mjs';

/**
 * The Python whose pip is used: that of an active environment, else python3.
 * @param {NodeJS.ProcessEnv} env
 */
export function findPip(env) {
  const candidates = [...(env.VIRTUAL_ENV ? [path.join(env.VIRTUAL_ENV, 'bin', 'python')] : []), 'python3', 'python'];
  let python = null;
  for (const candidate of candidates) {
    const answer = spawnSync(candidate, ['-m', 'pip', '--version'], { env, encoding: 'utf8', timeout: 60_000 });
    if (answer.status === 0) return candidate;
    if (answer.error === undefined) python ??= candidate;
  }
  throw new SetupError(
    python === null
      ? 'There is no Python here, with whose pip LibTorch could be fetched: install Python 3.10 or later with pip (Debian and Ubuntu: apt install python3-pip).'
      : `${python} has no pip, with which LibTorch could be fetched: install it (Debian and Ubuntu: apt install python3-pip).`,
  );
}

/**
 * Downloads wheels through pip, whose configuration (index, mirrors, proxies, certificates) is honoured and which
 * checks the index's hashes. Shows progress by what lies in pip's scratch folder, as not every pip can report it.
 *
 * @param {object} request
 * @param {string} request.python
 * @param {string[]} request.requirements
 * @param {string[]} [request.options] further options of `pip download`
 * @param {string} request.into folder; created
 * @param {string} request.label for the progress line
 * @param {NodeJS.ProcessEnv} request.env
 * @returns {Promise<string[]>} the wheels
 */
export async function downloadWheels({ python, requirements, options = [], into, label, env }) {
  const scratch = `${into}-scratch`;
  await Promise.all([into, scratch].map((folder) => mkdir(folder, { recursive: true })));
  const child = spawn(
    python,
    [
      '-m',
      'pip',
      'download',
      '--disable-pip-version-check',
      '--no-input',
      '--no-cache-dir',
      '--progress-bar',
      'off',
      '--only-binary',
      ':all:',
      '--dest',
      into,
      ...options,
      ...requirements,
    ],
    { env: { ...env, TMPDIR: scratch, PYTHONUNBUFFERED: '1', LC_ALL: 'C' }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  let announced = 0;
  /** @type {Progress | null} */
  let progress = null;
  child.stdout.on('data', (/** @type {Buffer} */ text) => {
    output += text;
    announced = 0;
    for (const [, amount, unit] of output.matchAll(/Downloading \S+\.whl \(([\d.]+) (kB|MB|GB)\)/g)) {
      announced += Number(amount) * (unit === 'GB' ? 1e9 : unit === 'MB' ? 1e6 : 1e3);
    }
  });
  child.stderr.on('data', (text) => (output += text));

  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve(error));
    child.on('close', (code) => resolve(code));
  });
  let finished = false;
  void ended.then(() => (finished = true));
  while (!finished) {
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 200))]);
    if (announced > 5e6) {
      progress ??= new Progress(label, announced);
      progress.total = announced;
      progress.update(Math.min(announced, Math.max(await weigh(scratch), await weigh(into))));
    }
  }
  const code = await ended;
  progress?.end();
  if (code !== 0) throw describeFailure(python, requirements, String(output));
  return (await readdir(into)).filter((name) => name.endsWith('.whl')).map((name) => path.join(into, name));
}

/**
 * @param {string} folder
 * @returns {Promise<number>} bytes of all files below; what vanishes meanwhile counts nothing
 */
async function weigh(folder) {
  const entries = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = await Promise.all(
    entries.map((name) =>
      stat(path.join(folder, name)).then(
        (s) => (s.isFile() ? s.size : 0),
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Thrown where pip ran well but no index has such a wheel: another Python version or requirement may be tried. */
export class NoSuchWheel extends SetupError {}

/** @param {string} python @param {string[]} requirements @param {string} output */
function describeFailure(python, requirements, output) {
  const wanted = requirements.join(' ');
  if (/No space left on device/.test(output)) {
    return new SetupError(
      `The disk is full while pip fetches ${wanted}: free some space, or set SIGHTLINE_CACHE to a folder on a larger disk.`,
    );
  }
  if (
    /Temporary failure in name resolution|Name or service not known|Failed to establish a new connection|NewConnectionError|ProxyError|ConnectTimeout|Network is unreachable|Max retries exceeded|ReadTimeout/.test(
      output,
    )
  ) {
    return new SetupError(
      `pip cannot reach a Python index for ${wanted}: check the network, or set HTTPS_PROXY or PIP_INDEX_URL.`,
    );
  }
  if (/No matching distribution found/.test(output)) {
    return new NoSuchWheel(
      `pip finds no wheel of ${wanted} for this machine: point PIP_INDEX_URL at an index that has it, or upgrade pip (${python} -m pip install --upgrade pip).`,
    );
  }
  const last =
    output
      .split('\n')
      .filter((line) => line.startsWith('ERROR:'))
      .at(-1) ??
    output.trim().split('\n').at(-1) ??
    '';
  return new SetupError(
    `pip could not fetch ${wanted}: ${last.replace(/^ERROR:\s*/, '').replace(/\.?$/, '')}; run "${python} -m pip download --no-deps ${wanted}" to see all it says.`,
  );
}
