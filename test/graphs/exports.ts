import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { runPython } from '../support/python.js';

/**
 * Runs one of the scripts of this folder that export models, into a folder of its own.
 *
 * @returns the folder, which the caller removes, and for each model what PyTorch says of it
 */
export async function exportModels<Expected>(
  python: string,
  script: string,
): Promise<{ readonly folder: string; readonly expected: Record<string, Expected> }> {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-models-'));
  await runPython(python, [`test/graphs/${script}`, folder]);
  const expected = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8')) as Record<string, Expected>;
  return { folder, expected };
}
