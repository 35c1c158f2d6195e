import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { SightlineError } from '../support/errors.js';

/** The folder `models/` of the package: two levels up from lib/models as from dist/models. */
export const BUNDLED_MODELS = fileURLToPath(new URL('../../models/', import.meta.url));

let imagenet: Promise<readonly string[]> | undefined;

/** The 1000 labels of ImageNet-1k in class order, read from the package at the first call and shared from then on. */
export function readImagenetLabels(): Promise<readonly string[]> {
  imagenet ??= read(`${BUNDLED_MODELS}labels/imagenet-1k.json`).catch((cause: unknown) => {
    imagenet = undefined;
    throw cause;
  });
  return imagenet;
}

async function read(path: string): Promise<readonly string[]> {
  let labels: unknown;
  try {
    labels = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new SightlineError(
      'FILE_NOT_FOUND',
      `The label list ${path} cannot be read: ${(cause as Error).message}; install the package again.`,
      { cause },
    );
  }
  if (!Array.isArray(labels) || labels.length !== 1000 || !labels.every((label) => typeof label === 'string')) {
    throw new SightlineError('INVALID_CARD', `The label list ${path} must be a JSON array of 1000 strings.`);
  }
  return Object.freeze(labels);
}
