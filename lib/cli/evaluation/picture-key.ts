import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import path from 'node:path';

import { isTensorInput, type Input } from '../../images/inputs.js';
import { hashFile } from '../../models/file-hash.js';
import { SightlineError } from '../../support/errors.js';
import type { LabelledPicture } from '../labels/labelled-picture.js';

/**
 * What a picture to judge is, by its contents: its name, its pixels, its class and its object. Null where it cannot be
 * read; whoever judges it will say why.
 */
export async function pictureKey(picture: LabelledPicture, image: string, input: Input): Promise<string | null> {
  try {
    const { target, object } = picture;
    const pixels = isTensorInput(input)
      ? hashOf(input instanceof Float32Array ? input : input.data)
      : await hashFile(picture.image);
    const mask = object?.file === undefined ? null : await hashFile(object.file);
    return hashOf(JSON.stringify([image, pixels, target, object?.said ?? null, mask]));
  } catch (error) {
    if (error instanceof SightlineError) return null;
    throw error;
  }
}

/** The contents of a model's files: of a checkpoint in several, of all. */
export async function modelContents(file: string): Promise<string[]> {
  const part = /^(.*-)\d{5}(-of-\d{5}\.\w+)$/.exec(path.basename(file));
  if (part === null) return [await hashFile(file)];
  const [, start, end] = part as unknown as [string, string, string];
  const names = (await readdir(path.dirname(file))).filter((name) => name.startsWith(start) && name.endsWith(end));
  return Promise.all(names.sort().map((name) => hashFile(path.join(path.dirname(file), name))));
}

function hashOf(data: string | Float32Array): string {
  const hash = createHash('sha256');
  hash.update(typeof data === 'string' ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return hash.digest('hex');
}
