import { readFile, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';

import { decodeNpy } from '../support/npy.js';
import { SightlineError } from '../support/errors.js';
import { unreadable } from '../support/files.js';
import type { Input } from '../images/inputs.js';

/** One image of the command line. A `.npy` file of N images gives N of them. */
export interface NamedInput {
  /** The path as given; `batch.npy[2]` for the third of several in one file. */
  readonly image: string;
  /** The name without folder and extension, from which names of written files are made. */
  readonly base: string;
  readonly input: Input;
}

/** What is done about a file that cannot be read; the others follow, unless it throws. */
type Unreadable = (path: string, error: unknown) => undefined;

const rethrown: Unreadable = (_path, error) => {
  throw error;
};

/** Reads the command line's images in order; `.npy` files when their turn comes, pictures when they are decoded. */
export async function* readInputs(
  paths: readonly string[],
  unreadable: Unreadable = rethrown,
): AsyncGenerator<NamedInput> {
  for (const path of paths) {
    const base = basename(path, extname(path));
    if (extname(path).toLowerCase() !== '.npy') {
      yield { image: path, base, input: path };
      continue;
    }
    const read = await readPreprocessed(path).catch((error: unknown) => unreadable(path, error));
    if (read === undefined) continue;
    const { data, shape } = read;
    const [count, ...image] = shape as readonly [number, number, number, number];
    const size = image.reduce((product, length) => product * length, 1);
    for (let i = 0; i < count; i++) {
      const input = { data: data.subarray(i * size, (i + 1) * size), shape: [1, ...image] };
      yield count === 1 ? { image: path, base, input } : { image: `${path}[${i}]`, base: `${base}-${i}`, input };
    }
  }
}

/** The same, `size` at a time: what is in memory at once. */
export async function* readChunks(
  paths: readonly string[],
  size = 16,
  unreadable: Unreadable = rethrown,
): AsyncGenerator<NamedInput[]> {
  let chunk: NamedInput[] = [];
  for await (const input of readInputs(paths, unreadable)) {
    chunk.push(input);
    if (chunk.length < size) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}

/** All of them, for commands whose answer is one array over all images. */
export async function readAll(paths: readonly string[]): Promise<NamedInput[]> {
  const all: NamedInput[] = [];
  for await (const input of readInputs(paths)) all.push(input);
  return all;
}

/** Checked here and not only by the engine, which does not know the file's name. */
async function readPreprocessed(path: string): Promise<{ data: Float32Array; shape: readonly number[] }> {
  const array = decodeNpy(await bytesOf(path), path);
  const shape = array.shape.join(', ');
  if (array.dtype !== 'float32' || array.shape.length !== 4 || array.shape[1] !== 3 || array.data.length === 0) {
    throw new SightlineError(
      'INVALID_INPUT',
      `${path} holds ${array.dtype} of shape [${shape}]; preprocessed images are float32 [N, 3, H, W].`,
    );
  }
  const bad = array.data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new SightlineError(
      'INVALID_INPUT',
      `${path} holds ${array.data[bad]} at [${placeOf(bad, array.shape).join(', ')}]; preprocess it again.`,
    );
  }
  return { data: array.data, shape: array.shape };
}

async function bytesOf(path: string): Promise<Buffer> {
  try {
    if ((await stat(path)).isDirectory()) {
      throw new SightlineError('NOT_A_FILE', `${path} is a directory; give the path of a .npy file.`);
    }
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof SightlineError) throw cause;
    throw unreadable(path, cause);
  }
}

function placeOf(offset: number, shape: readonly number[]): number[] {
  const place: number[] = [];
  for (const length of shape.toReversed()) {
    place.unshift(offset % length);
    offset = Math.floor(offset / length);
  }
  return place;
}
