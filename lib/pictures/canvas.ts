import sharp, { type Sharp } from 'sharp';

/** An RGB picture in memory: [height, width, 3] row-major, 8 bits. */
export interface Raster {
  /** R, G and B of each pixel, row by row: 0 to 255. */
  readonly data: Uint8Array;
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
}

/** sRGB, 0..255 each. */
export type Rgb = readonly [red: number, green: number, blue: number];

/** The few colors of every picture that sightline draws. */
export const PALETTE = {
  paper: [255, 255, 255],
  ink: [31, 35, 40],
  muted: [99, 108, 118],
  hairline: [208, 215, 222],
  blank: [234, 238, 242],
} as const satisfies Record<string, Rgb>;

/** A new picture of one color. */
export function createCanvas(width: number, height: number, color: Rgb = PALETTE.paper): Raster {
  const canvas = { data: new Uint8Array(width * height * 3), width, height };
  fillBox(canvas, { left: 0, top: 0, width, height }, color);
  return canvas;
}

/** A rectangle in whole pixels. */
export interface PixelBox {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Paints a rectangle; what lies outside the canvas is left out. `opacity` 1 covers, 0 changes nothing. */
export function fillBox(canvas: Raster, box: PixelBox, color: Rgb, opacity = 1): void {
  const right = Math.min(canvas.width, box.left + box.width);
  const bottom = Math.min(canvas.height, box.top + box.height);
  for (let y = Math.max(0, box.top); y < bottom; y++) {
    for (let x = Math.max(0, box.left); x < right; x++) {
      blendPixel(canvas.data, 3 * (y * canvas.width + x), color, opacity);
    }
  }
}

/** Draws the one-pixel frame just inside a rectangle. */
export function strokeBox(canvas: Raster, box: PixelBox, color: Rgb): void {
  const { left, top, width, height } = box;
  fillBox(canvas, { left, top, width, height: 1 }, color);
  fillBox(canvas, { left, top: top + height - 1, width, height: 1 }, color);
  fillBox(canvas, { left, top, width: 1, height }, color);
  fillBox(canvas, { left: left + width - 1, top, width: 1, height }, color);
}

/** Copies a picture onto the canvas with its upper left corner at (left, top); what lies outside is left out. */
export function paste(canvas: Raster, picture: Raster, left: number, top: number): void {
  const from = Math.max(0, -left);
  const to = Math.min(picture.width, canvas.width - left);
  if (to <= from) return;
  for (let y = Math.max(0, -top); y < Math.min(picture.height, canvas.height - top); y++) {
    const row = picture.data.subarray(3 * (y * picture.width + from), 3 * (y * picture.width + to));
    canvas.data.set(row, 3 * ((y + top) * canvas.width + left + from));
  }
}

/** Paints a color through a mask of coverages (0..255, row-major), which is how text gets onto a picture. */
export function stamp(
  canvas: Raster,
  mask: { data: Uint8Array; width: number; height: number },
  left: number,
  top: number,
  color: Rgb,
): void {
  for (let y = Math.max(0, -top); y < Math.min(mask.height, canvas.height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(mask.width, canvas.width - left); x++) {
      const coverage = mask.data[y * mask.width + x]!;
      if (coverage > 0) blendPixel(canvas.data, 3 * ((y + top) * canvas.width + x + left), color, coverage / 255);
    }
  }
}

function blendPixel(data: Uint8Array, at: number, color: Rgb, opacity: number): void {
  for (let channel = 0; channel < 3; channel++) {
    data[at + channel] = Math.round(data[at + channel]! + opacity * (color[channel]! - data[at + channel]!));
  }
}

/** A sharp instance over the raster's own memory (not copied). */
export function sharpOf(raster: Raster): Sharp {
  const { data, width, height } = raster;
  return sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false });
}

/** What a sharp instance shows, as RGB at the given width (its own width where none is given), alpha on white. */
export async function rasterOf(image: Sharp, width?: number): Promise<Raster> {
  const shown = image.clone().flatten({ background: '#ffffff' }).toColorspace('srgb');
  // The user's own pipeline may hold a resize, and sharp keeps only the last one, so its result is taken first.
  const own = await shown.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  const channels = own.info.channels;
  const whole = sharp(own.data, {
    raw: { width: own.info.width, height: own.info.height, channels },
    limitInputPixels: false,
  }).toColorspace('srgb');
  const sized = width === undefined || width === own.info.width ? whole : whole.resize({ width });
  const { data, info } = await sized.raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}
