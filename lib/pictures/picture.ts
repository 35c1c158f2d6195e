import { writeFile } from 'node:fs/promises';
import { extname } from 'node:path';

import sharp, { type Sharp } from 'sharp';

import { cut, shown } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import { suggestion } from '../support/nearest.js';
import { sharpOf, type Raster } from './canvas.js';

/** The formats that pictures are written in. */
export const PICTURE_FORMATS = ['png', 'jpeg', 'webp', 'avif', 'tiff', 'gif'] as const;
/** A format that pictures are written in. */
export type PictureFormat = (typeof PICTURE_FORMATS)[number];

/** How a picture is written. */
export interface PictureOptions {
  /** Default: for a file that of its extension, else `png`. */
  readonly format?: PictureFormat | undefined;
  /** Of `jpeg`, `webp` and `avif`: 1 (small) to 100 (good), without a unit. Default 92, of `avif` 50. */
  readonly quality?: number | undefined;
}

const FORMAT_OF_EXTENSION: Readonly<Record<string, PictureFormat>> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.jpe': 'jpeg',
  '.webp': 'webp',
  '.avif': 'avif',
  '.tif': 'tiff',
  '.tiff': 'tiff',
  '.gif': 'gif',
};

/** The format that the extension of a file names; null where it names none. */
export function formatOfFile(path: string): PictureFormat | null {
  const extension = extname(path).toLowerCase();
  return Object.hasOwn(FORMAT_OF_EXTENSION, extension) ? FORMAT_OF_EXTENSION[extension]! : null;
}

/**
 * A picture that sightline made: an overlay, a sheet, or an image of `maximize`. It is drawn once, when it is first
 * asked for. Any further work on it, such as a resize, starts from `sharp()`.
 */
export class Picture {
  readonly #draw: () => Promise<Raster>;
  readonly #compressionLevel: number;
  #drawn: Promise<Raster> | null = null;

  /** @param compressionLevel of PNG, 0 to 9 */
  constructor(draw: () => Promise<Raster>, { compressionLevel = 6 }: { readonly compressionLevel?: number } = {}) {
    this.#draw = draw;
    this.#compressionLevel = compressionLevel;
  }

  /**
   * Writes the picture to a file, in the format of its extension: .png, .jpg, .webp, .avif, .tiff or .gif.
   *
   * @returns width and height in pixels, and the size of the file in bytes
   * @throws SightlineError INVALID_OPTION for an extension without a format, a wrong option, or a file that cannot be
   * written
   */
  async toFile(
    path: string,
    options: PictureOptions = {},
  ): Promise<{
    readonly width: number;
    readonly height: number;
    readonly bytes: number;
    readonly format: PictureFormat;
  }> {
    if (typeof path !== 'string' || path === '') {
      throw new SightlineError('INVALID_OPTION', `toFile got ${shown(path)}; give the path of a file.`);
    }
    const { format, quality } = checkedOptions(options);
    const chosen = format ?? formatOfFile(path);
    if (chosen === null) {
      throw new SightlineError(
        'INVALID_OPTION',
        `The name ${cut(path)} names no picture format; end it in .png, .jpg, .webp, .avif, .tiff or .gif, or give \`format\`.`,
      );
    }
    const bytes = await this.toBuffer({ format: chosen, quality });
    try {
      await writeFile(path, bytes);
    } catch (cause) {
      throw new SightlineError(
        'INVALID_OPTION',
        `The picture ${cut(path)} cannot be written: ${(cause as Error).message}.`,
        { cause },
      );
    }
    const { width, height } = await this.pixels();
    return { width, height, bytes: bytes.length, format: chosen };
  }

  /**
   * The bytes of the picture as a file.
   *
   * @throws SightlineError INVALID_OPTION for a wrong option
   */
  async toBuffer(options: PictureOptions = {}): Promise<Buffer> {
    const { format = 'png', quality } = checkedOptions(options);
    const picture = sharpOf(await this.pixels());
    if (format === 'png') return picture.png({ compressionLevel: this.#compressionLevel }).toBuffer();
    // sharp's own choice is JPEG within the TIFF.
    if (format === 'tiff') return picture.tiff({ compression: 'lzw' }).toBuffer();
    if (format === 'gif') return picture.gif().toBuffer();
    return picture[format]({ quality: quality ?? (format === 'avif' ? 50 : 92) }).toBuffer();
  }

  /**
   * A new sharp instance of the picture, for further work:
   * `(await picture.sharp()).resize(512).webp().toFile('small.webp')`. Without a format of its own it writes PNG.
   */
  async sharp(): Promise<Sharp> {
    // A PNG in memory, since sharp gives raw pixels back as raw pixels where no format is chosen.
    const bytes = await sharpOf(await this.pixels())
      .png({ compressionLevel: 0 })
      .toBuffer();
    return sharp(bytes, { limitInputPixels: false });
  }

  /** The pixels, [height, width, 3] row-major: R, G and B of 8 bits each. Do not write to them. */
  pixels(): Promise<Raster> {
    return (this.#drawn ??= this.#draw());
  }
}

function checkedOptions(options: PictureOptions): PictureOptions {
  if (typeof options !== 'object' || options === null) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The options of a picture are ${shown(options)}; give { format, quality }.`,
    );
  }
  const { format, quality } = options;
  if (format !== undefined && !PICTURE_FORMATS.includes(format)) {
    const hint = typeof format === 'string' ? suggestion(format, PICTURE_FORMATS) : '';
    throw new SightlineError(
      'INVALID_OPTION',
      `format is ${shown(format)}; give ${PICTURE_FORMATS.join(', ')}.${hint === '' ? '' : ` ${hint}`}`,
    );
  }
  if (quality !== undefined && !(Number.isInteger(quality) && quality >= 1 && quality <= 100)) {
    throw new SightlineError('INVALID_OPTION', `quality is ${shown(quality)}; give a whole number from 1 to 100.`);
  }
  return options;
}
