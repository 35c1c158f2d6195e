import type { Metadata } from 'sharp';

import { SightlineError } from '../support/errors.js';
import { readTiffHeader } from './tiff-header.js';

const DEPTHS: Readonly<Record<string, string>> = {
  char: '8-bit numbers with a sign',
  short: '16-bit numbers with a sign',
  int: '32-bit whole numbers',
  uint: '32-bit whole numbers',
  float: '32-bit floating point numbers',
  double: '64-bit floating point numbers',
  complex: 'complex numbers',
  dpcomplex: 'complex numbers',
};
const COMPRESSIONS: Readonly<Record<number, string>> = {
  34712: 'JPEG 2000',
  34925: 'LZMA',
  34887: 'LERC',
  50000: 'ZSTD',
  50001: 'WebP',
  52546: 'JPEG XL',
};
/** Of photometric interpretations that are no gray, RGB, palette, CMYK or YCbCr. */
const COLORS: Readonly<Record<number, string>> = {
  8: 'Lab',
  9: 'Lab (ICC)',
  10: 'Lab (ITU)',
  32803: 'a raw sensor pattern',
  32844: 'LogL',
  32845: 'LogLuv',
};
const TIFF_EXTRA_UNSPECIFIED = 0;

/**
 * Refuses pictures whose numbers have no stated range or meaning: guessing one would explain other pixels than the
 * file's.
 *
 * @throws SightlineError INVALID_IMAGE
 */
export function checkSamples(header: Metadata, subject: string): void {
  const depth = DEPTHS[header.depth ?? ''];
  if (depth !== undefined) {
    throw new SightlineError(
      'INVALID_IMAGE',
      `${subject} holds ${depth}, whose range it does not state; convert it to 8 or 16 bits without a sign first.`,
      { details: { depth: header.depth } },
    );
  }
  const channels = header.channels ?? 3;
  if (channels > 4 && header.space !== 'cmyk') {
    throw new SightlineError(
      'INVALID_IMAGE',
      `${subject} has ${channels} bands, and this build reads pictures of 1 to 4; keep the three that are red, green and blue.`,
      { details: { channels } },
    );
  }
}

/** Whether the last band of a file that looks as if it had alpha is none: TIFF calls such bands unspecified. */
export function hasIdleBand(bytes: Uint8Array, header: Metadata): boolean {
  return (
    header.format === 'tiff' &&
    header.hasAlpha === true &&
    readTiffHeader(bytes)?.extraSamples[0] === TIFF_EXTRA_UNSPECIFIED
  );
}

/** Why this build cannot read a file that is whole, as the end of a sentence; null where nothing is known. */
export function unreadableBecause(bytes: Uint8Array, header: Metadata | null): string | null {
  if (header?.format === 'heif' && header.compression !== undefined && header.compression !== 'av1') {
    return `is a HEIC picture (${header.compression}), which this build cannot read; save it as JPEG or PNG`;
  }
  const tiff = readTiffHeader(bytes);
  if (tiff === null) return null;
  const compression = COMPRESSIONS[tiff.compression];
  if (compression !== undefined) {
    return `is a TIFF compressed by ${compression}, which this build cannot read; save it with another compression, such as deflate`;
  }
  const colors = COLORS[tiff.photometric];
  if (colors !== undefined) return `is a TIFF whose colors are ${colors}, which this build cannot read; save it as RGB`;
  if (tiff.bitsPerSample > 16) {
    return `is a TIFF of ${tiff.bitsPerSample} bits per sample, which this build cannot read; save it with 8 or 16`;
  }
  if (tiff.samples > 4) {
    return `is a TIFF of ${tiff.samples} bands, and this build reads 1 to 4; keep the three that are red, green and blue`;
  }
  return null;
}

/** Whether libvips would take the bytes for an SVG drawing, packed or not: `<svg` within their first thousand. */
export function isSvg(bytes: Uint8Array): boolean {
  // Of what sightline reads, only packed SVG begins as gzip does.
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return true;
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 4096)).toString('latin1');
  return /<svg/i.test(head) && /^[\t-\x7f]{24}/.test(head);
}
