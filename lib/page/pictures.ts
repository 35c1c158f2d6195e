/** Canvases as picture files: side by side, each below its caption and above the colors that it is painted in. */
import { colorsOf, type Scale } from './paint.js';
import { save } from './share.js';
import type { Look } from './state.js';
import { shortNumber } from './words.js';

/** A map as it is on the screen. */
export interface Drawn {
  readonly canvas: HTMLCanvasElement;
  readonly caption: string;
  readonly scale: Scale | null;
}

export type PictureType = 'image/png' | 'image/webp';

const GAP = 16;
const LINE = 28;
const LEGEND = 34;

/** @param name without an ending */
export function savePictures(rows: readonly (readonly Drawn[])[], look: Look, type: PictureType, name: string): void {
  const width = Math.max(...rows.map((row) => row.reduce((sum, { canvas }) => sum + canvas.width + GAP, GAP)));
  const heights = rows.map((row) => Math.max(...row.map(({ canvas }) => canvas.height)) + LINE + LEGEND + GAP);
  const sheet = document.createElement('canvas');
  sheet.width = width;
  sheet.height = heights.reduce((sum, height) => sum + height, GAP);
  const context = sheet.getContext('2d')!;
  context.fillStyle = '#fff';
  context.fillRect(0, 0, sheet.width, sheet.height);
  let top = GAP;
  rows.forEach((row, i) => {
    let left = GAP;
    for (const { canvas, caption, scale } of row) {
      context.fillStyle = '#1d1c1a';
      context.font = '15px system-ui, sans-serif';
      context.fillText(caption, left, top + 16, canvas.width);
      context.drawImage(canvas, left, top + LINE);
      if (scale !== null) drawLegend(context, scale, look, left, top + LINE + canvas.height + 8, canvas.width);
      left += canvas.width + GAP;
    }
    top += heights[i]!;
  });
  sheet.toBlob((blob) => {
    // A browser that writes no WebP writes PNG in its place.
    if (blob !== null) save(blob, `${name}.${blob.type === 'image/webp' ? 'webp' : 'png'}`);
  }, type);
}

/** The colors with the values at their ends. */
function drawLegend(
  context: CanvasRenderingContext2D,
  scale: Scale,
  look: Look,
  left: number,
  top: number,
  width: number,
): void {
  const table = colorsOf(scale, look);
  for (let x = 0; x < width; x++) {
    const entry = 3 * Math.round((255 * x) / Math.max(1, width - 1));
    context.fillStyle = `rgb(${table[entry]} ${table[entry + 1]} ${table[entry + 2]})`;
    context.fillRect(left + x, top, 1, 8);
  }
  context.fillStyle = '#655f56';
  context.font = '13px system-ui, sans-serif';
  context.fillText(shortNumber(scale.min), left, top + 23);
  const most = shortNumber(scale.max);
  context.fillText(most, left + width - context.measureText(most).width, top + 23);
}
