import type { Box } from '../../requests/evaluate/mask.js';

/** A mask as it is drawn: row-major [height, width], 1 on the object, else 0. */
export interface Raster {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/**
 * Adds a polygon's inside: pixels whose center lies in it, by the even-odd rule. Its edges count as half open, so that
 * polygons side by side share no pixel.
 *
 * @param corners x and y of each, in pixels from the upper left corner of the picture
 */
export function fillPolygon({ data, width, height }: Raster, corners: readonly number[]): void {
  const count = corners.length / 2;
  for (let row = 0; row < height; row++) {
    const y = row + 0.5;
    const crossings: number[] = [];
    for (let i = 0; i < count; i++) {
      const next = (i + 1) % count;
      const [x1, y1, x2, y2] = [corners[2 * i]!, corners[2 * i + 1]!, corners[2 * next]!, corners[2 * next + 1]!];
      if (y1 <= y !== y2 <= y) crossings.push(x1 + ((y - y1) * (x2 - x1)) / (y2 - y1));
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const from = Math.max(0, Math.ceil(crossings[i]! - 0.5));
      const to = Math.min(width, Math.ceil(crossings[i + 1]! - 0.5));
      if (from < to) data.fill(1, row * width + from, row * width + to);
    }
  }
}

/**
 * Adds what run lengths cover: counts of pixels off and on the object by turns, column by column.
 *
 * @returns whether they cover the picture exactly; nothing is added where they do not
 */
export function fillRuns({ data, width, height }: Raster, counts: readonly number[]): boolean {
  const isCount = (count: number): boolean => Number.isSafeInteger(count) && count >= 0;
  if (!counts.every(isCount) || counts.reduce((sum, count) => sum + count, 0) !== width * height) return false;
  let at = 0;
  counts.forEach((count, i) => {
    const end = at + count;
    if (i % 2 === 0) at = end;
    for (; at < end; at++) data[(at % height) * width + Math.floor(at / height)] = 1;
  });
  return true;
}

/**
 * The counts of COCO's compressed run lengths: groups of five bits from the lowest on, each a character from `0`, of
 * which the sixth bit says that more follow; signed, and from the fourth on the difference to the last but one.
 *
 * @returns null where the text is cut short or holds another character
 */
export function decompressedRuns(text: string): number[] | null {
  const counts: number[] = [];
  for (let at = 0; at < text.length;) {
    let value = 0;
    let group: number;
    let bits = 0;
    do {
      group = text.charCodeAt(at++) - 48;
      if (!(group >= 0 && group < 64) || bits > 30) return null;
      // Not by shifts, which hold 32 bits.
      value += (group & 31) * 2 ** bits;
      bits += 5;
    } while ((group & 32) !== 0);
    if ((group & 16) !== 0) value -= 2 ** bits;
    counts.push(counts.length > 2 ? value + counts.at(-2)! : value);
  }
  return counts;
}

/** The smallest box around what is on the object, which has a pixel at least. */
export function boxAround({ data, width, height }: Raster): Box {
  let [left, right, top, bottom] = [width, -1, height, -1];
  data.forEach((value, at) => {
    if (value === 0) return;
    const [row, column] = [Math.floor(at / width), at % width];
    [left, right] = [Math.min(left, column), Math.max(right, column)];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
  });
  return { left, top, width: right - left + 1, height: bottom - top + 1 };
}
