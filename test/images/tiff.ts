export interface TiffParts {
  readonly width: number;
  readonly height: number;
  readonly samples: number;
  readonly bits: number;
  /** 1 without a sign, 2 with one, 3 floating point. */
  readonly sampleFormat: number;
  readonly extraSamples?: readonly number[];
  readonly compression?: number;
  readonly data: Buffer;
}

/** A TIFF of one strip, little-endian, as it says of itself. */
export function tiff({
  width,
  height,
  samples,
  bits,
  sampleFormat,
  extraSamples = [],
  compression = 1,
  data,
}: TiffParts): Buffer {
  const SHORT = 3;
  const LONG = 4;
  const each = (value: number): number[] => Array.from({ length: samples }, () => value);
  const entries: [tag: number, type: number, values: readonly number[]][] = [
    [256, SHORT, [width]],
    [257, SHORT, [height]],
    [258, SHORT, each(bits)],
    [259, SHORT, [compression]],
    [262, SHORT, [samples < 3 ? 1 : 2]],
    [273, LONG, [8]],
    [277, SHORT, [samples]],
    [278, SHORT, [height]],
    [279, LONG, [data.length]],
    [284, SHORT, [1]],
    ...(extraSamples.length > 0 ? [[338, SHORT, extraSamples] as [number, number, readonly number[]]] : []),
    [339, SHORT, each(sampleFormat)],
  ];
  const begin = 8 + data.length + (data.length % 2);
  const directory = Buffer.alloc(2 + 12 * entries.length + 4);
  directory.writeUInt16LE(entries.length, 0);
  const beyond: Buffer[] = [];
  let at = begin + directory.length;
  entries.forEach(([tag, type, values], i) => {
    const size = type === SHORT ? 2 : 4;
    const packed = Buffer.alloc(Math.max(4, size * values.length));
    values.forEach((value, v) =>
      size === 2 ? packed.writeUInt16LE(value, 2 * v) : packed.writeUInt32LE(value, 4 * v),
    );
    const place = 2 + 12 * i;
    directory.writeUInt16LE(tag, place);
    directory.writeUInt16LE(type, place + 2);
    directory.writeUInt32LE(values.length, place + 4);
    if (packed.length <= 4) packed.copy(directory, place + 8);
    else {
      directory.writeUInt32LE(at, place + 8);
      beyond.push(packed);
      at += packed.length;
    }
  });
  const header = Buffer.from('49492a0000000000', 'hex');
  header.writeUInt32LE(begin, 4);
  return Buffer.concat([header, data, Buffer.alloc(data.length % 2), directory, ...beyond]);
}
