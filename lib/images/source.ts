import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

import sharp, { type Metadata, type Sharp, type SharpOptions } from 'sharp';

import { SightlineError } from '../errors.js';
import { cmykToRgb } from './cmyk.js';
import { declaredPngSize } from './png-header.js';

/** Pixels as they lie in memory: row-major, channels interleaved, 8 bits each. 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA. */
export interface RawImage {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 2 | 3 | 4;
}

/**
 * What may stand for an image: a path, a `file:` URL, the bytes of an encoded file, raw pixels, or a sharp instance
 * (which counts as the picture that it would write: chain `.autoOrient()` on it if the EXIF tag shall be obeyed).
 */
export type ImageInput = string | URL | Uint8Array | Sharp | RawImage;

/** An image ready for a model: 8-bit RGB, [height, width, 3] row-major, upright. */
export interface DecodedImage {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** What messages and written files call it: the base name of its path, or the name that the caller gave. */
  readonly name: string;
}

export interface DecodeOptions {
  /** Aborting rejects with ABORTED. A decode that has begun runs to its end in the background; its pixels are dropped. */
  readonly signal?: AbortSignal | undefined;
  /** The name of an image that has no path, such as `image-0`. Default `image`. */
  readonly name?: string | undefined;
  /** Refuse images of more pixels than this, before any is decoded. Default 268,402,689 (16,383 x 16,383), as in sharp. */
  readonly maxPixels?: number | undefined;
}

/** sharp's own default: the largest square whose side fits in 14 bits. */
const MAX_PIXELS = 0x3fff * 0x3fff;

/** Half a picture explained as if whole would mislead, so truncation fails; oddities that Pillow also passes over do not. */
const FAIL_ON = 'error';

/**
 * Decodes one image: JPEG, PNG, WebP, AVIF, GIF or TIFF (first frame or page), or whatever else sharp reads.
 *
 * - EXIF orientation is applied.
 * - Alpha is flattened onto white. Dropping it (as Pillow's `convert('RGB')` does) would uncover whatever colour the
 *   encoder left under transparent pixels, mostly black; white is the ground on which cut-out pictures are usually seen.
 * - Grey becomes three equal channels; 16 bits are cut to the upper 8.
 * - CMYK becomes RGB by Pillow's formula, and embedded colour profiles are ignored, as they were when the models were trained.
 *
 * @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE, INVALID_IMAGE or ABORTED.
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<DecodedImage> {
  const { signal, maxPixels = MAX_PIXELS } = options;
  throwIfAborted(signal);
  const path = input instanceof URL ? pathOfUrl(input) : typeof input === 'string' ? input : null;
  const name = path === null ? (options.name ?? 'image') : basename(path);
  // Messages show the whole path where there is one: two folders may hold the same base name.
  const subject = path ?? name;

  let pixels: Pixels;
  if (path !== null) pixels = await decodeBytes(await bytesOf(path, signal), subject, maxPixels);
  else if (input instanceof Uint8Array) pixels = await decodeBytes(input, subject, maxPixels);
  else if (isSharp(input)) pixels = await decodeSharp(input, subject, maxPixels);
  else if (isRaw(input)) pixels = await decodeRaw(input, subject, maxPixels);
  else {
    throw new SightlineError(
      'INVALID_INPUT',
      `${subject} is not an image: give a path, the bytes of an image file, a sharp instance, or { data, width, height, channels }.`,
    );
  }
  throwIfAborted(signal);
  return { ...pixels, name };
}

type Pixels = Omit<DecodedImage, 'name'>;

async function bytesOf(path: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  let found;
  try {
    found = await stat(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
  if (found.isDirectory()) throw new SightlineError('NOT_A_FILE', `${path} is a directory; give the path of an image file.`);
  // A pipe or a device could be read for ever.
  if (!found.isFile()) throw new SightlineError('NOT_A_FILE', `${path} is not a regular file; give the path of an image file.`);
  try {
    // Read here, not by sharp: libvips caches by file name, and would show the old picture of a file that was rewritten.
    return await readFile(path, { signal });
  } catch (cause) {
    throwIfAborted(signal);
    throw unreadable(path, cause);
  }
}

async function decodeBytes(bytes: Uint8Array, subject: string, maxPixels: number): Promise<Pixels> {
  if (bytes.length === 0) throw new SightlineError('INVALID_IMAGE', `${subject} is empty (0 bytes); expected an image file.`);
  // The header is read without a limit, so that a refusal can name the size.
  let header: Metadata;
  try {
    header = await sharp(bytes, { failOn: FAIL_ON, limitInputPixels: false }).metadata();
  } catch (cause) {
    const declared = declaredPngSize(bytes);
    if (declared !== null) checkPixels(declared.width, declared.height, subject, maxPixels);
    throw undecodable(subject, cause);
  }
  checkPixels(header.width, header.pageHeight ?? header.height, subject, maxPixels);
  // The limit was checked just now; sharp's own is lifted so that a larger one of the caller is obeyed.
  const settings: SharpOptions = { failOn: FAIL_ON, limitInputPixels: false, ignoreIcc: true };
  try {
    const image = sharp(bytes, settings).autoOrient();
    if (header.space === 'cmyk') {
      const { data, info } = await image
        .pipelineColourspace('cmyk')
        .toColourspace('cmyk')
        .raw({ depth: 'uchar' })
        .toBuffer({ resolveWithObject: true });
      // A fifth channel would be alpha, which no common CMYK file has.
      if (info.channels === 4) return { data: await cmykToRgb(data, info.width, info.height), width: info.width, height: info.height };
    }
    return await toRgb(sharp(bytes, settings).autoOrient());
  } catch (cause) {
    throw undecodable(subject, cause);
  }
}

async function decodeSharp(instance: Sharp, subject: string, maxPixels: number): Promise<Pixels> {
  let raw: RawImage;
  try {
    // A copy, since setting raw output would change what the caller's own instance writes.
    const { data, info } = await instance.clone().raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    raw = { data, width: info.width, height: info.height, channels: info.channels as RawImage['channels'] };
  } catch (cause) {
    throw undecodable(subject, cause);
  }
  return decodeRaw(raw, subject, maxPixels);
}

async function decodeRaw(image: RawImage, subject: string, maxPixels: number): Promise<Pixels> {
  const { data, width, height, channels } = image;
  const whole = (value: number): boolean => Number.isSafeInteger(value) && value > 0;
  if (!whole(width) || !whole(height)) {
    throw new SightlineError('INVALID_IMAGE', `${subject} has the size ${width} x ${height}; raw pixels need a width and a height of at least 1.`);
  }
  if (![1, 2, 3, 4].includes(channels)) {
    throw new SightlineError('INVALID_IMAGE', `${subject} has ${channels} channels; raw pixels have 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).`);
  }
  const needed = width * height * channels;
  if (data.length !== needed) {
    throw new SightlineError(
      'INVALID_IMAGE',
      `${subject} has ${data.length} bytes of raw pixels, but ${width} x ${height} x ${channels} channels need ${needed}.`,
    );
  }
  checkPixels(width, height, subject, maxPixels);
  // Copied, so that a caller who reuses the buffer for the next frame does not change this one.
  if (channels === 3) return { data: new Uint8Array(data), width, height };
  try {
    return await toRgb(sharp(data, { raw: { width, height, channels }, limitInputPixels: false }));
  } catch (cause) {
    throw undecodable(subject, cause);
  }
}

async function toRgb(image: Sharp): Promise<Pixels> {
  const { data, info } = await image
    .flatten({ background: '#ffffff' })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`expected 3 channels after conversion, found ${info.channels}`);
  return { data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), width: info.width, height: info.height };
}

function checkPixels(width: number, height: number, subject: string, maxPixels: number): void {
  if (width * height <= maxPixels) return;
  throw new SightlineError(
    'INVALID_IMAGE',
    `${subject} is too large: ${width} x ${height} is ${grouped(width * height)} pixels, and the limit is ${grouped(maxPixels)}; make it smaller first.`,
    { details: { width, height, maxPixels } },
  );
}

function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

function unreadable(path: string, cause: unknown): SightlineError {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ENOTDIR') return new SightlineError('FILE_NOT_FOUND', `There is no file ${path}.`, { cause });
  if (code === 'EACCES' || code === 'EPERM') return new SightlineError('FILE_NOT_FOUND', `${path} may not be read: permission denied.`, { cause });
  if (code === 'ERR_FS_FILE_TOO_LARGE') return new SightlineError('INVALID_IMAGE', `${path} is larger than 2 GiB; it cannot be read as an image.`, { cause });
  return new SightlineError('FILE_NOT_FOUND', `${path} cannot be read: ${firstLine(cause)}.`, { cause });
}

function undecodable(subject: string, cause: unknown): SightlineError {
  const why = firstLine(cause);
  if (/unsupported image format/i.test(why)) {
    return new SightlineError('INVALID_IMAGE', `${subject} is not an image that sightline reads: expected JPEG, PNG, WebP, AVIF, GIF or TIFF.`, { cause });
  }
  return new SightlineError('INVALID_IMAGE', `${subject} is damaged or cut short and cannot be decoded (${why}).`, { cause });
}

function firstLine(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return (message.split('\n', 1)[0] ?? '').replace(/[.:\s]+$/, '');
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new SightlineError('ABORTED', 'The request was aborted.', { cause: signal.reason });
}

function pathOfUrl(url: URL): string {
  if (url.protocol === 'file:') return fileURLToPath(url);
  throw new SightlineError('INVALID_INPUT', `${url.href} is not a file: URL; fetch the image first and give its bytes.`);
}

function isSharp(input: unknown): input is Sharp {
  // Not `instanceof`: the caller's sharp may be another copy of the package.
  const candidate = input as Partial<Sharp> | null;
  return typeof candidate?.toBuffer === 'function' && typeof candidate.clone === 'function';
}

function isRaw(input: unknown): input is RawImage {
  const raw = input as Partial<RawImage> | null;
  return raw?.data instanceof Uint8Array || raw?.data instanceof Uint8ClampedArray;
}
