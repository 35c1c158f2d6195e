import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';

import sharp, { type Metadata, type Sharp, type SharpOptions } from 'sharp';

import { abortedBy, onAbort, throwIfAborted, untilAborted } from '../support/abort.js';
import { cut, shown } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import { firstLine, unreadable } from '../support/files.js';
import { cmykToRgb } from './cmyk.js';
import { Gate } from './gate.js';
import { checkHeld, heldBytes, isRaw, isSharp, pathOf, type ImageInput, type RawImage } from './image-input.js';
import { declaredPngSize } from './png-header.js';
import { checkSamples, hasIdleBand, isSvg, unreadableBecause } from './readable.js';

/** An image ready for a model: 8-bit RGB, [height, width, 3] row-major, upright. */
export interface DecodedImage {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** What messages and written files call it: the base name of its path, or the name that the caller gave. */
  readonly name: string;
}

export interface DecodeOptions {
  /**
   * Aborting rejects with ABORTED at once. A decode that has begun runs to its end in the background; its pixels are
   * dropped.
   */
  readonly signal?: AbortSignal | undefined;
  /** The name of an image that has no path, such as `image-0`. Default `image`. */
  readonly name?: string | undefined;
  /**
   * Refuse images of more pixels than this, before any is decoded. Default 268,402,689 (16,383 x 16,383), as in sharp.
   */
  readonly maxPixels?: number | undefined;
  /** Whether SVG drawings are rendered: a few bytes of one can keep a processor busy for minutes. Default false. */
  readonly svg?: boolean | undefined;
  /** Whether strings and `file:` URLs are paths of files that are read. Default true. */
  readonly imageFiles?: boolean | undefined;
  /** `heldBytes` of the input when the caller handed it over; memory that has another length by now is refused. */
  readonly heldBytes?: number | null | undefined;
}

/** sharp's own default: the largest square whose side fits in 14 bits. */
export const MAX_PIXELS = 0x3fff * 0x3fff;

/** As many at once as libuv's pool has threads: more would only hold memory. */
const pictures = new Gate(Math.max(1, Math.trunc(Number(process.env['UV_THREADPOOL_SIZE'])) || 4));
/** Pixels that are decoded at once: a picture of more is decoded alone. */
const pixelsAtOnce = new Gate(2 ** 26);

/**
 * Half a picture explained as if whole would mislead, so truncation fails; oddities that Pillow also passes over do
 * not.
 */
const FAIL_ON = 'error';

/**
 * Decodes one image: JPEG, PNG, WebP, AVIF, GIF or TIFF (first frame or page), or whatever else sharp reads.
 *
 * - EXIF orientation is applied.
 * - Alpha is flattened onto white. Dropping it (as Pillow's `convert('RGB')` does) would uncover whatever color the
 *   encoder left under transparent pixels, mostly black; white is the ground on which cut-out pictures are usually
 *   seen.
 * - Gray becomes three equal channels; 16 bits are cut to the upper 8.
 * - CMYK becomes RGB by Pillow's formula, and embedded color profiles are ignored, as they were when the models were
 *   trained.
 *
 * - Samples of other kinds than 8 and 16 bits without a sign are refused, as they have no stated range. A last band
 *   that the file does not call alpha is left out.
 *
 * @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE, INVALID_IMAGE, INVALID_INPUT or ABORTED.
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<DecodedImage> {
  const { signal, imageFiles = true } = options;
  throwIfAborted(signal);
  // Before the disk is asked anything, so that the refusal is the same whatever lies there.
  if (!imageFiles && (typeof input === 'string' || input instanceof URL)) {
    throw new SightlineError(
      'INVALID_INPUT',
      `${options.name ?? 'image'} is a ${typeof input === 'string' ? 'string' : 'URL'}, and this model reads no files (imageFiles: false); give the bytes of the image.`,
    );
  }
  const path = pathOf(input, options.name ?? 'image');
  const name = path === null ? (options.name ?? 'image') : basename(path);
  // Messages show the whole path where there is one: two folders may hold the same base name.
  const source = {
    ...options,
    heldBytes: options.heldBytes === undefined ? heldBytes(input) : options.heldBytes,
    subject: path === null ? name : cut(path),
  };
  const onLeave = leavingOn(signal);
  const leave = await pictures.enter(1, onLeave);
  const work = (async (): Promise<Pixels> => {
    try {
      // A URL has become a path.
      return await decodeSource(path ?? (input as Exclude<ImageInput, URL>), source);
    } finally {
      leave();
    }
  })();
  return { ...(await untilAborted(work, signal)), name };
}

/** Ends the waiting at a gate when the signal is aborted. */
function leavingOn(signal: AbortSignal | undefined): (leave: (reason: unknown) => void) => () => void {
  return (leave) => onAbort(signal, () => leave(abortedBy(signal)));
}

type Source = DecodeOptions & { readonly heldBytes: number | null; readonly subject: string };

async function decodeSource(input: Exclude<ImageInput, URL>, source: Source): Promise<Pixels> {
  const { signal, subject } = source;
  throwIfAborted(signal);
  if (typeof input === 'string') return decodeBytes(await bytesOf(input, subject, signal), source);
  if (input instanceof Blob) return decodeBytes(new Uint8Array(await input.arrayBuffer()), source);
  if (isSharp(input)) return decodeSharp(input, source);
  checkHeld(input, source.heldBytes, subject);
  if (isRaw(input)) return decodeRaw(input, source);
  // Copied, as it is the caller's, who may transfer or shrink it while sharp's threads read it: that ends the process.
  return decodeBytes(copied(input), source);
}

type Pixels = Omit<DecodedImage, 'name'>;

function copied(memory: ArrayBufferView | ArrayBufferLike): Uint8Array {
  // No view can be made of memory that was transferred.
  if (memory.byteLength === 0) return new Uint8Array(0);
  return (
    ArrayBuffer.isView(memory)
      ? new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength)
      : new Uint8Array(memory)
  ).slice();
}

async function bytesOf(path: string, subject: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  let found;
  try {
    found = await stat(path);
  } catch (cause) {
    throw notRead(subject, cause);
  }
  if (found.isDirectory()) {
    throw new SightlineError('NOT_A_FILE', `${subject} is a directory; give the path of an image file.`);
  }
  // A pipe or a device could be read for ever.
  if (!found.isFile()) {
    throw new SightlineError('NOT_A_FILE', `${subject} is not a regular file; give the path of an image file.`);
  }
  try {
    // Read here, not by sharp: libvips caches by file name, and would show the old picture of a file that was
    // rewritten.
    return await readFile(path, { signal });
  } catch (cause) {
    throwIfAborted(signal);
    throw notRead(subject, cause);
  }
}

async function decodeBytes(
  bytes: Uint8Array,
  { subject, signal, maxPixels = MAX_PIXELS, svg = false }: Source,
): Promise<Pixels> {
  throwIfAborted(signal);
  if (bytes.length === 0) {
    throw new SightlineError('INVALID_IMAGE', `${subject} is empty (0 bytes); expected an image file.`);
  }
  // Before libvips sees it: reading an SVG's header renders parts of it.
  if (!svg && isSvg(bytes)) {
    throw new SightlineError(
      'INVALID_IMAGE',
      `${subject} is an SVG drawing, which can take minutes to render; load the model with { svg: true } if you trust it.`,
    );
  }
  // The header is read without a limit, so that a refusal can name the size.
  let header: Metadata;
  try {
    header = await sharp(bytes, { failOn: FAIL_ON, limitInputPixels: false }).metadata();
  } catch (cause) {
    const declared = declaredPngSize(bytes);
    if (declared !== null) checkPixels(declared.width, declared.height, subject, maxPixels);
    throw undecodable(bytes, null, subject, cause);
  }
  const height = header.pageHeight ?? header.height;
  checkPixels(header.width, height, subject, maxPixels);
  checkSamples(header, subject);
  const leave = await pixelsAtOnce.enter(header.width * height, leavingOn(signal));
  try {
    return await decodeChecked(bytes, header);
  } catch (cause) {
    throw undecodable(bytes, header, subject, cause);
  } finally {
    leave();
  }
}

async function decodeChecked(bytes: Uint8Array, header: Metadata): Promise<Pixels> {
  // The limit was checked just now; sharp's own is lifted so that a larger one of the caller is obeyed.
  const settings: SharpOptions = { failOn: FAIL_ON, limitInputPixels: false, ignoreIcc: true };
  const image = sharp(bytes, settings).autoOrient();
  if (header.space === 'cmyk') {
    const { data, info } = await image
      .pipelineColorspace('cmyk')
      .toColorspace('cmyk')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    // A fifth channel would be alpha, which no common CMYK file has.
    if (info.channels === 4) {
      return { data: await cmykToRgb(data, info.width, info.height), width: info.width, height: info.height };
    }
  }
  return await toRgb(sharp(bytes, settings).autoOrient(), hasIdleBand(bytes, header));
}

async function decodeSharp(instance: Sharp, source: Source): Promise<Pixels> {
  let raw: RawImage;
  try {
    // A copy, since setting raw output would change what the caller's own instance writes.
    const { data, info } = await withoutProfile(instance.clone())
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    raw = { data, width: info.width, height: info.height, channels: info.channels };
  } catch (cause) {
    throw undecodable(null, null, source.subject, cause);
  }
  return decodeRaw(raw, source);
}

/**
 * The pixels of a file are taken as they are stored, so those of an instance are too. sharp has that as an option of
 * its constructor only; a copy has options of its own.
 */
function withoutProfile(copy: Sharp): Sharp {
  const { input } = (copy as unknown as { options?: { input?: { ignoreIcc?: boolean } } }).options ?? {};
  if (input) input.ignoreIcc = true;
  return copy;
}

async function decodeRaw(image: RawImage, { subject, maxPixels = MAX_PIXELS }: Source): Promise<Pixels> {
  const { data, width, height, channels } = image;
  const whole = (value: number): boolean => Number.isSafeInteger(value) && value > 0;
  if (!whole(width) || !whole(height)) {
    throw new SightlineError(
      'INVALID_IMAGE',
      `${subject} has the size ${shown(width)} x ${shown(height)}; raw pixels need a width and a height of at least 1.`,
    );
  }
  if (![1, 2, 3, 4].includes(channels)) {
    throw new SightlineError(
      'INVALID_IMAGE',
      `${subject} has ${shown(channels)} channels; raw pixels have 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA).`,
    );
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
    return await toRgb(sharp(data.slice(), { raw: { width, height, channels }, limitInputPixels: false }), false);
  } catch (cause) {
    throw undecodable(null, null, subject, cause);
  }
}

async function toRgb(image: Sharp, hasIdle: boolean): Promise<Pixels> {
  const { data, info } = await (hasIdle ? image.removeAlpha() : image.flatten({ background: '#ffffff' }))
    .toColorspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`expected 3 channels after conversion, found ${info.channels}`);
  return {
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    width: info.width,
    height: info.height,
  };
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

function notRead(subject: string, cause: unknown): SightlineError {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ERR_INVALID_ARG_VALUE') {
    return new SightlineError('INVALID_INPUT', `${JSON.stringify(subject)} is no path: it holds a zero character.`, {
      cause,
    });
  }
  if (code === 'ERR_FS_FILE_TOO_LARGE') {
    return new SightlineError('INVALID_IMAGE', `${subject} is larger than 2 GiB; it cannot be read as an image.`, {
      cause,
    });
  }
  return unreadable(subject, cause);
}

function undecodable(
  bytes: Uint8Array | null,
  header: Metadata | null,
  subject: string,
  cause: unknown,
): SightlineError {
  if (cause instanceof SightlineError) return cause;
  const because = bytes === null ? null : unreadableBecause(bytes, header);
  if (because !== null) return new SightlineError('INVALID_IMAGE', `${subject} ${because}.`, { cause });
  const why = firstLine(cause);
  if (/unsupported image format/i.test(why)) {
    return new SightlineError(
      'INVALID_IMAGE',
      `${subject} is not an image that sightline reads: expected JPEG, PNG, WebP, AVIF, GIF or TIFF.`,
      { cause },
    );
  }
  return new SightlineError(
    'INVALID_IMAGE',
    `${subject} is damaged or cut short and cannot be decoded (${cut(why)}).`,
    { cause },
  );
}
