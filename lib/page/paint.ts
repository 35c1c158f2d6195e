import { axisTaps, type Interpolation } from '../pictures/heat.js';
import { tableOf } from './color-tables.js';
import type { Look } from './state.js';

/** Values over a grid, row by row. */
export interface MapValues {
  readonly data: Float32Array;
  readonly shape: readonly [height: number, width: number];
}

/** Which value has which color. Of a signed map zero is the middle, and both ends are as far from it. */
export interface Scale {
  readonly isSigned: boolean;
  readonly min: number;
  readonly max: number;
}

/** A rectangle of the picture, in its pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A map at the size of a canvas: NaN where the model saw nothing. */
export interface Field {
  readonly data: Float32Array;
  readonly width: number;
  readonly height: number;
}

/** Of several maps, one scale for all of them. Null where nothing stands out, or a value is no number. */
export function scaleOf(maps: readonly MapValues[]): Scale | null {
  let min = Infinity;
  let max = -Infinity;
  for (const { data } of maps) {
    for (const value of data) {
      if (!Number.isFinite(value)) return null;
      if (value < min) min = value;
      if (value > max) max = value;
    }
  }
  if (!(max > min)) return null;
  if (min >= 0) return { isSigned: false, min, max };
  const most = Math.max(-min, max);
  return { isSigned: true, min: -most, max: most };
}

/** A value's place on its scale, in [0, 1]. */
export const placeOf = (value: number, { min, max }: Scale): number => (value - min) / (max - min);

/** How far a value stands out, in [0, 1]: of a signed map, from zero. */
export const strengthOf = (value: number, scale: Scale): number =>
  scale.isSigned ? Math.abs(value) / scale.max : placeOf(value, scale);

/** Between the middles of cells, values are mixed as the library's overlays mix them. */
export function fieldOf(
  { data, shape: [rows, columns] }: MapValues,
  width: number,
  height: number,
  box: Box,
  interpolation: Interpolation = 'bilinear',
): Field {
  const across = axisTaps(width, box.left, box.width, columns, interpolation);
  const down = axisTaps(height, box.top, box.height, rows, interpolation);
  const field = new Float32Array(width * height).fill(NaN);
  const [left, right] = within(box.left, box.width, width);
  const [top, bottom] = within(box.top, box.height, height);
  for (let y = top; y < bottom; y++) {
    const upper = down.low[y]! * columns;
    const lower = down.high[y]! * columns;
    const mix = down.mix[y]!;
    for (let x = left; x < right; x++) {
      const [low, high, share] = [across.low[x]!, across.high[x]!, across.mix[x]!];
      const above = data[upper + low]! + (data[upper + high]! - data[upper + low]!) * share;
      const below = data[lower + low]! + (data[lower + high]! - data[lower + low]!) * share;
      field[y * width + x] = above + (below - above) * mix;
    }
  }
  return { data: field, width, height };
}

/** The pixels whose middles lie in the box. */
function within(start: number, extent: number, length: number): [number, number] {
  return [Math.max(0, Math.ceil(start - 0.5)), Math.min(length, Math.ceil(start + extent - 0.5))];
}

/** Lines of the contour view, as shares of the scale. */
const LEVELS = [0.25, 0.5, 0.75, 0.9];

/**
 * Paints a field into pixels of RGBA, four bytes each. Opacity is the canvas's business, but for the mask, whose dark
 * part it is.
 */
export function paintField(pixels: Uint32Array, field: Field, scale: Scale, look: Look): void {
  if (look.view === 'contour') paintContours(pixels, field, scale, look);
  else if (look.view === 'mask') paintMask(pixels, field, scale, look);
  else paintHeat(pixels, field, scale, look);
}

export const colorsOf = (scale: Scale, look: Look): Uint8Array => tableOf(scale.isSigned ? 'signed' : look.colormap);

/** The low byte is red on every machine that has a browser. */
const packed = (red: number, green: number, blue: number, alpha: number): number =>
  ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** A color for each of the 256 entries, so that a pixel is one look-up and one number written. */
function palette(scale: Scale, look: Look): Uint32Array {
  const table = colorsOf(scale, look);
  return Uint32Array.from({ length: 256 }, (_, entry) => {
    // What speaks neither for nor against leaves the picture as it is.
    const alpha = scale.isSigned ? Math.round(255 * Math.sqrt(Math.abs(entry / 127.5 - 1))) : 255;
    return packed(table[3 * entry]!, table[3 * entry + 1]!, table[3 * entry + 2]!, alpha);
  });
}

function paintHeat(pixels: Uint32Array, { data }: Field, scale: Scale, look: Look): void {
  const colors = palette(scale, look);
  const { threshold } = look;
  const { min, max, isSigned } = scale;
  const factor = 1 / (max - min);
  for (let i = 0; i < data.length; i++) {
    const place = (data[i]! - min) * factor;
    const strength = isSigned ? Math.abs(2 * place - 1) : place;
    // None also where the value is NaN.
    pixels[i] = strength >= threshold ? colors[Math.round(255 * Math.min(1, Math.max(0, place)))]! : 0;
  }
}

function paintMask(pixels: Uint32Array, { data }: Field, scale: Scale, { threshold, opacity }: Look): void {
  const dark = packed(0, 0, 0, Math.round(255 * opacity));
  for (let i = 0; i < data.length; i++) pixels[i] = placeOf(data[i]!, scale) >= threshold ? 0 : dark;
}

/** A line runs where a level lies between a pixel and its right or lower neighbor. */
function paintContours(pixels: Uint32Array, field: Field, scale: Scale, look: Look): void {
  const { data, width, height } = field;
  const table = colorsOf(scale, look);
  const levels = (look.threshold > 0 ? [look.threshold] : LEVELS).map((level) => {
    const entry = 3 * Math.round(255 * level);
    const value = scale.min + level * (scale.max - scale.min);
    return { value, color: packed(table[entry]!, table[entry + 1]!, table[entry + 2]!, 255) };
  });
  pixels.fill(0);
  for (let y = 0; y < height - 2; y++) {
    for (let x = 0; x < width - 2; x++) {
      const at = y * width + x;
      const here = data[at]!;
      // Two pixels wide, so that it can be seen.
      const right = data[at + 2]!;
      const below = data[at + 2 * width]!;
      if (Number.isNaN(here) || Number.isNaN(right) || Number.isNaN(below)) continue;
      for (const { value, color } of levels) {
        const isAbove = here >= value;
        if (isAbove === right >= value && isAbove === below >= value) continue;
        pixels[at] = color;
        break;
      }
    }
  }
}

/** float32 from base64, whose low byte comes first on every machine that has a browser. */
export function floatsOf(b64: string): Float32Array {
  const bytes = Uint8Array.from(atob(b64), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}
