/** What the first page of a TIFF says of its samples. */
export interface TiffHeader {
  readonly compression: number;
  readonly photometric: number;
  readonly bitsPerSample: number;
  readonly samples: number;
  /** One entry for each sample beyond the colors: 0 unspecified, 1 and 2 alpha. */
  readonly extraSamples: readonly number[];
}

const TAGS = { bitsPerSample: 258, compression: 259, photometric: 262, samples: 277, extraSamples: 338 };
/** Bytes of an entry's values, by its type: BYTE, SHORT and LONG are what these tags use. */
const SIZES: Readonly<Record<number, number>> = { 1: 1, 3: 2, 4: 4 };

/** Null where the bytes are no TIFF, or end before the directory does. */
export function readTiffHeader(bytes: Uint8Array): TiffHeader | null {
  if (bytes.length < 8) return null;
  const order = String.fromCharCode(bytes[0]!, bytes[1]!);
  if (order !== 'II' && order !== 'MM') return null;
  const isLittle = order === 'II';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const version = view.getUint16(2, isLittle);
    if (version !== 42 && version !== 43) return null;
    return readDirectory(view, isLittle, version === 43);
  } catch (error) {
    // An offset beyond the end: decoding says so.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** `isBig`: BigTIFF, whose offsets and counts have 8 bytes. */
function readDirectory(view: DataView, isLittle: boolean, isBig: boolean): TiffHeader {
  const wide = (at: number): number => (isBig ? Number(view.getBigUint64(at, isLittle)) : view.getUint32(at, isLittle));
  const begin = wide(isBig ? 8 : 4);
  const count = isBig ? wide(begin) : view.getUint16(begin, isLittle);
  const found = new Map<number, number[]>();
  for (let i = 0; i < count; i++) {
    const entry = begin + (isBig ? 8 + 20 * i : 2 + 12 * i);
    const tag = view.getUint16(entry, isLittle);
    if (!Object.values(TAGS).includes(tag)) continue;
    const type = view.getUint16(entry + 2, isLittle);
    const size = SIZES[type];
    const values = wide(entry + 4);
    if (size === undefined || values > 64) continue;
    const room = isBig ? 8 : 4;
    const at = entry + 4 + room;
    const from = size * values <= room ? at : wide(at);
    found.set(
      tag,
      Array.from({ length: values }, (_, v) =>
        size === 1
          ? view.getUint8(from + v)
          : size === 2
            ? view.getUint16(from + 2 * v, isLittle)
            : view.getUint32(from + 4 * v, isLittle),
      ),
    );
  }
  const first = (tag: number, otherwise: number): number => found.get(tag)?.[0] ?? otherwise;
  return {
    compression: first(TAGS.compression, 1),
    photometric: first(TAGS.photometric, 1),
    bitsPerSample: first(TAGS.bitsPerSample, 1),
    samples: first(TAGS.samples, 1),
    extraSamples: found.get(TAGS.extraSamples) ?? [],
  };
}
