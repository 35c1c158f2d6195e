import { mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { formatOfFile, type Picture } from '../pictures/picture.js';
import { encodeNpy } from '../support/npy.js';
import { SightlineError } from '../support/errors.js';

/**
 * Most characters that one part of a file name keeps, so that three of them stay below the 255 bytes of file systems.
 */
const PART_LENGTH = 60;

/**
 * A text as a part of a file name: letters, digits, `.`, `_`, and `-` for anything else. Empty when nothing is left.
 */
export function safeName(text: string): string {
  return text
    .normalize('NFC')
    .replace(/[^\p{L}\p{N}._]+/gu, '-')
    .replace(/^[-.]+|[-.]+$/g, '')
    .slice(0, PART_LENGTH);
}

/** A folder of results in which no file of one run overwrites another of the same run. */
export class OutputFolder {
  private readonly taken = new Set<string>();

  private constructor(private readonly folder: string) {}

  /** @throws SightlineError INVALID_OPTION when the folder cannot be made or is a file. */
  static async create(folder: string, flag: string): Promise<OutputFolder> {
    await makeFolder(folder, flag);
    return new OutputFolder(folder);
  }

  /** Writes a picture in the format of the extension. Returns its path. */
  async picture(name: string, picture: Picture): Promise<string> {
    const path = this.pathFor(name, '.png');
    await picture.toFile(path);
    return path;
  }

  /** Writes an array as `.npy`. Returns its path. */
  async array(
    name: string,
    array: { readonly data: Float32Array; readonly shape: readonly number[] },
  ): Promise<string> {
    const path = this.pathFor(name, '.npy');
    await write(path, encodeNpy(array));
    return path;
  }

  /** `name.png`, or `name-2.png` where that is taken: images of two folders may share a base name. */
  private pathFor(name: string, extension: string): string {
    let free = name;
    // Case counts for nothing on some file systems.
    for (let n = 2; this.taken.has(`${free}${extension}`.toLowerCase()); n++) free = `${name}-${n}`;
    this.taken.add(`${free}${extension}`.toLowerCase());
    return join(this.folder, `${free}${extension}`);
  }
}

/**
 * Looks at the name of a picture that is to be written and makes its folder, before any work is done for it.
 *
 * @throws SightlineError INVALID_OPTION
 */
export async function preparePicture(path: string): Promise<void> {
  if (formatOfFile(path) === null) {
    throw new SightlineError(
      'INVALID_OPTION',
      `--out ${path} names no format of pictures; end it in .png, .jpg, .webp, .avif, .tiff or .gif.`,
    );
  }
  await makeFolder(dirname(path), '--out');
  if (await isFolder(path)) {
    throw new SightlineError('INVALID_OPTION', `--out ${path} is a folder; give the name of a picture.`);
  }
}

/**
 * The same of an HTML file.
 *
 * @throws SightlineError INVALID_OPTION
 */
export async function preparePage(path: string): Promise<void> {
  await makeFolder(dirname(path), '--html');
  if (await isFolder(path)) {
    throw new SightlineError('INVALID_OPTION', `--html ${path} is a folder; give the name of a file.`);
  }
}

/** @throws SightlineError INVALID_OPTION */
export function writePage(path: string, html: string): Promise<void> {
  return write(path, Buffer.from(html));
}

async function makeFolder(folder: string, flag: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    const isFile = ['EEXIST', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '');
    throw new SightlineError(
      'INVALID_OPTION',
      isFile
        ? `${flag} ${folder} is a file or lies in one; give a folder.`
        : `${flag} ${folder} cannot be made: ${(cause as Error).message}.`,
      { cause },
    );
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(path, bytes);
  } catch (cause) {
    throw new SightlineError('INVALID_OPTION', `${path} cannot be written: ${(cause as Error).message}.`, { cause });
  }
}
