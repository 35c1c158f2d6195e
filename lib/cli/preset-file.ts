import { readFile, writeFile } from 'node:fs/promises';

import { z } from 'zod';

import type { JudgedMethod } from '../requests/evaluate/evaluate.js';
import { cut } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import { firstLine, unreadable } from '../support/files.js';

const preset = z.looseObject({ method: z.string() });

/** A method with its options, as `explain` takes them. */
export type Preset = z.output<typeof preset>;

/** @throws SightlineError INVALID_OPTION that names the file */
export async function savePreset(file: string, method: JudgedMethod): Promise<void> {
  const options = typeof method === 'string' ? { method } : method;
  try {
    await writeFile(file, `${JSON.stringify(options, null, 2)}\n`);
  } catch (cause) {
    throw new SightlineError('INVALID_OPTION', `--save ${file} cannot be written: ${firstLine(cause)}.`, { cause });
  }
}

/** @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE; INVALID_OPTION that names the file and what is wrong in it */
export async function readPreset(file: string): Promise<Preset> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  try {
    return preset.parse(JSON.parse(text));
  } catch (cause) {
    throw new SightlineError(
      'INVALID_OPTION',
      `--preset ${file} holds no method (${cut(firstLine(cause))}); it is JSON such as {"method": "gae"}, as search --save writes it.`,
      { cause },
    );
  }
}
