import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { ROOT } from '../../support/python.js';

export const FOLDER = 'test/service/clients';

/**
 * A Python with the packages of requirements.txt: SIGHTLINE_CLIENTS_PYTHON. Null without one; a line then says how to
 * get it.
 */
export function findClients(): string | null {
  const named = process.env['SIGHTLINE_CLIENTS_PYTHON'];
  if (named === undefined) {
    console.log(
      `Not run, for want of their packages. Run "python3 -m venv .clients && .clients/bin/pip install -r ${FOLDER}/requirements.txt" and set SIGHTLINE_CLIENTS_PYTHON=.clients/bin/python.`,
    );
    return null;
  }
  const wanted = [...readFileSync(`${ROOT}${FOLDER}/requirements.txt`, 'utf8').matchAll(/^(\w+).*==(.+)$/gm)];
  const script = `from importlib.metadata import version\nfor name in ${JSON.stringify(wanted.map(([, name]) => name))}: print(version(name))`;
  const { stdout, stderr } = spawnSync(named, ['-c', script], { encoding: 'utf8' });
  if (stdout.trim() === wanted.map(([, , version]) => version).join('\n')) return named;
  throw new Error(`SIGHTLINE_CLIENTS_PYTHON: ${named} lacks a release of ${FOLDER}/requirements.txt. ${stderr}`);
}
