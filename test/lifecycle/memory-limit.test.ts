import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { forge, pickle } from '../archives/forge.js';
import { expectEnding, runChild } from './child.js';

const script = new URL('./children/memory-limit.mjs', import.meta.url);
const ELEMENTS = 2 ** 26;

let folder: string;
let file: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-memory-limit-'));
  file = join(folder, 'large.pt');
  const large = forge({
    members: '  large : Tensor\n',
    attributes: { large: pickle.tensor('1', ELEMENTS, [ELEMENTS], [1]) },
    extra: [{ name: 'forged/data/1', data: Buffer.alloc(4 * ELEMENTS) }],
  });
  writeFileSync(file, large);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Only Linux limits the memory of a process that runs.
describe.runIf(process.platform === 'linux')('a process whose memory is limited', () => {
  it('is told so by a model that does not fit, and goes on', async () => {
    const ending = await runChild(script, { args: [file] });
    expectEnding(ending, { stages: ['limited', 'refused', 'lifted', 'end'] });
    expect(ending.reports).toEqual([
      {
        code: 'OUT_OF_MEMORY',
        message: `${file}: too little memory is free for the weights of the model; close other models, or give the process more.`,
      },
    ]);
  });
});
