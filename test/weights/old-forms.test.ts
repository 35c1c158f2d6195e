import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { readCheckpoint } from '../../lib/archives/checkpoint.js';
import { Model, SightlineError } from '../../lib/index.js';
import { bytesOf } from '../support/checkpoints.js';
import { findPython, runPython } from '../support/python.js';

const python = findPython();
const folder = mkdtempSync(path.join(tmpdir(), 'old-forms-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => path.join(folder, name);

async function refusalOf(name: string): Promise<SightlineError> {
  const error: unknown = await Model.load(at(name), { device: 'cpu' }).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(SightlineError);
  expect(error).toMatchObject({ code: 'INVALID_WEIGHTS' });
  return error as SightlineError;
}

/** Runs what a refusal tells its reader to run in Python. */
async function obey(name: string): Promise<void> {
  const { message } = await refusalOf(name);
  const lines = /in Python: (.*?\))(?:, where .*|\.)$/.exec(message)?.[1];
  expect(lines, message).toBeDefined();
  execFileSync(python!, ['-W', 'ignore', '-c', `import torch\n${lines!}`], { cwd: folder });
}

async function numbersOf(name: string): Promise<Record<string, string>> {
  const bytes = readFileSync(at(name));
  const { tensors } = await readCheckpoint(at(name), 0);
  return Object.fromEntries([...tensors].map(([key, part]) => [key, bytesOf(bytes, part).toString('hex')]));
}

describe.runIf(python !== null)('what a refused file is told to become', () => {
  beforeAll(() => runPython(python!, ['test/weights/save_old_forms.py', folder]));

  it.each([
    ['pickle.pth', 'converted.pth'],
    ['tar.pth', 'converted.pth'],
    ['namespace.pth', 'weights.pth'],
  ])('%s: has the same numbers to the bit', async (name, converted) => {
    rmSync(at(converted), { force: true });
    await obey(name);
    expect(await numbersOf(converted)).toEqual(await numbersOf('state.pth'));
  });

  it('module.pth: is a model that answers', async () => {
    await obey('module.pth');
    await using model = await Model.load(at('model.pt'), { device: 'cpu' });
    const image = { data: new Float32Array(3 * 224 * 224).fill(0.5), shape: [1, 3, 224, 224] };
    expect((await model.predict(image, { top: 3 }))[0]!.predictions).toHaveLength(3);
  });

  it('names each form as what it is', async () => {
    expect((await refusalOf('tar.pth')).message).toMatch(/is a tar archive, as torch\.save wrote it before/);
    expect((await refusalOf('pickle.pth')).message).toMatch(/is a plain pickle, as torch\.save wrote it before/);
    expect((await refusalOf('module.pth')).message).toMatch(/whole pickled object, torch\.nn\.\S+Sequential/);
  });
});
