import { fileURLToPath } from 'node:url';

import type { Sharp } from 'sharp';

import { cut } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';

/**
 * Pixels as they lie in memory: row-major, channels interleaved, 8 bits each. 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA.
 */
export interface RawImage {
  /** Row-major, channels last: [height, width, channels], 0 to 255. */
  readonly data: Uint8Array | Uint8ClampedArray;
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA. */
  readonly channels: 1 | 2 | 3 | 4;
}

/**
 * An image: a path, a `file:` URL, the bytes of an encoded file (also as a Blob or File), raw
 * pixels, or a sharp instance (which counts as the picture that it would write, without its color profile: chain
 * `.autoOrient()` on it if the EXIF tag shall be obeyed).
 */
export type ImageInput =
  string | URL | Uint8Array | ArrayBuffer | SharedArrayBuffer | DataView | Blob | Sharp | RawImage;

/** Bytes of memory that the caller may still take back, by transferring or shrinking it; null where there is none. */
export function heldBytes(input: unknown): number | null {
  const held = isRaw(input) ? input.data : input;
  return ArrayBuffer.isView(held) || held instanceof ArrayBuffer ? held.byteLength : null;
}

/** @throws SightlineError INVALID_INPUT where the caller has taken the memory back since. */
export function checkHeld(input: unknown, expected: number | null, subject: string): void {
  if (expected === null || heldBytes(input) === expected) return;
  throw new SightlineError(
    'INVALID_INPUT',
    `The memory of ${subject} was transferred or resized before it was read; leave it alone until the promise settles, or give a copy.`,
  );
}

/** The path that an input names; null for one that holds the picture itself. */
export function pathOf(input: ImageInput, name: string): string | null {
  if (input instanceof URL) return pathOfUrl(input, name);
  if (typeof input === 'string') {
    const scheme = /^(data|https?|blob|ftp|s3|gs):/i.exec(input)?.[1]?.toLowerCase();
    if (scheme !== undefined) {
      throw new SightlineError(
        'INVALID_INPUT',
        `${name} is a ${scheme}: URL, and strings are paths of files; ${scheme === 'data' ? 'decode it' : 'fetch it'} first and give the bytes.`,
      );
    }
    return input;
  }
  const isKnown =
    ArrayBuffer.isView(input) ||
    input instanceof ArrayBuffer ||
    input instanceof SharedArrayBuffer ||
    input instanceof Blob ||
    isSharp(input) ||
    isRaw(input);
  if (isKnown && !(input instanceof Float32Array)) return null;
  throw new SightlineError(
    'INVALID_INPUT',
    `${name} is not an image: give a path, the bytes of an image file, a sharp instance, or { data, width, height, channels }.`,
  );
}

function pathOfUrl(url: URL, name: string): string {
  if (url.protocol !== 'file:') {
    throw new SightlineError(
      'INVALID_INPUT',
      `${name} is ${cut(url.href)}, which is not a file: URL; fetch the image first and give its bytes.`,
    );
  }
  try {
    return fileURLToPath(url);
  } catch (cause) {
    // A host, or a slash that is written as %2F.
    throw new SightlineError(
      'INVALID_INPUT',
      `${name} is ${cut(url.href)}, which is the URL of no file on this machine.`,
      { cause },
    );
  }
}

export function isSharp(input: unknown): input is Sharp {
  // Not `instanceof`: the caller's sharp may be another copy of the package.
  const candidate = input as Partial<Sharp> | null;
  return typeof candidate?.toBuffer === 'function' && typeof candidate.clone === 'function';
}

export function isRaw(input: unknown): input is RawImage {
  const raw = input as Partial<RawImage> | null | undefined;
  return raw?.data instanceof Uint8Array || raw?.data instanceof Uint8ClampedArray;
}
