import sharp, { type Sharp } from 'sharp';

import { SightlineError } from '../support/errors.js';
import { shown } from '../support/cut.js';
import { createCanvas, PALETTE, paste, rasterOf, type Raster, type Rgb } from './canvas.js';
import { checkOptions, checkText, checkTexts, checkWhole } from './checks.js';
import { Picture } from './picture.js';
import { drawLines, linesHeight, renderParagraph, type TextLine } from './text.js';

/** One picture of a sheet with the text below it. */
export interface SheetCell {
  /** An overlay or another picture of sightline's, a sharp instance, or the bytes of an encoded picture. */
  readonly image: Picture | Sharp | Uint8Array;
  /** Text below the picture, at most two lines. */
  readonly caption?: string | undefined;
}

/** How a contact sheet is laid out. */
export interface SheetOptions {
  /** Text above the sheet. Default: none. */
  readonly title?: string | undefined;
  /** Heads above the columns, from the left. Default: none. */
  readonly columnHeads?: readonly string[] | undefined;
  /** Heads at the left of the rows, from the top. Default: none. */
  readonly rowHeads?: readonly string[] | undefined;
  /** Width that every picture is scaled to, in pixels, its proportions kept: 16 to 4,096. Default 224. */
  readonly cellWidth?: number | undefined;
  /** Default white. */
  readonly background?: Rgb | undefined;
}

/**
 * Sets pictures into one: rows by columns, with captions, column heads, row heads and a title. Rows may differ in
 * length, and `null` leaves a place empty.
 *
 * @throws SightlineError INVALID_INPUT when there is no picture or a cell is none, INVALID_OPTION for a width out of
 * range or a text that is no string.
 */
export async function contactSheet(
  cells: readonly (readonly (SheetCell | null)[])[],
  options: SheetOptions = {},
): Promise<Picture> {
  checkOptions('contactSheet', options);
  const { cellWidth = 224, background } = options;
  checkWhole('cellWidth', cellWidth, 16, 4096);
  checkText('title', options.title);
  checkTexts('columnHeads', options.columnHeads);
  checkTexts('rowHeads', options.rowHeads);
  if (background !== undefined) checkColor(background);
  checkCells(cells);
  const rows: (RasterCell | null)[][] = [];
  for (const row of cells) {
    rows.push(
      await Promise.all(
        row.map(async (cell) => {
          if (cell === null) return null;
          const image =
            cell.image instanceof Picture
              ? await cell.image.sharp()
              : cell.image instanceof Uint8Array
                ? sharp(cell.image)
                : cell.image;
          return { picture: await rasterOf(image, cellWidth), caption: cell.caption ?? '' };
        }),
      ),
    );
  }
  const sheet = await layOut(rows, { ...options, cellWidth });
  return new Picture(() => Promise.resolve(sheet));
}

function checkColor(color: unknown): void {
  const isByte = (value: unknown): boolean =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 255;
  if (Array.isArray(color) && color.length === 3 && color.every(isByte)) return;
  throw new SightlineError('INVALID_OPTION', `background is ${shown(color)}; give three whole numbers from 0 to 255.`);
}

function checkCells(cells: unknown): void {
  if (!Array.isArray(cells)) {
    throw new SightlineError('INVALID_INPUT', `The cells of a contact sheet are ${shown(cells)}; give a list of rows.`);
  }
  cells.forEach((row: unknown, r) => {
    if (!Array.isArray(row)) {
      throw new SightlineError('INVALID_INPUT', `Row ${r} of a contact sheet is ${shown(row)}; give a list of cells.`);
    }
    row.forEach((cell: unknown, c) => {
      if (cell === null) return;
      const { image, caption } = (cell ?? {}) as Partial<SheetCell>;
      const isPicture =
        image instanceof Uint8Array || typeof (image as Partial<Sharp> | undefined)?.toBuffer === 'function';
      if (!isPicture) {
        throw new SightlineError(
          'INVALID_INPUT',
          `Cell [${r}][${c}] of a contact sheet has no picture; give { image }, a sharp instance or the bytes of an image file, or null.`,
        );
      }
      checkText(`The caption of cell [${r}][${c}]`, caption);
    });
  });
}

/** A picture in memory with its caption. */
export interface RasterCell {
  readonly picture: Raster;
  readonly caption: string;
}

export interface LayoutOptions {
  readonly cellWidth: number;
  readonly title?: string | undefined;
  readonly columnHeads?: readonly string[] | undefined;
  readonly rowHeads?: readonly string[] | undefined;
  readonly background?: Rgb | undefined;
  /** Free space between pictures, in pixels. Default 1/16 of the cell's width, at least 8. */
  readonly gap?: number | undefined;
}

/** The sheet itself, of pictures no wider than `cellWidth`; every row is as high as its highest picture. */
export async function layOut(
  rows: readonly (readonly (RasterCell | null)[])[],
  options: LayoutOptions,
): Promise<Raster> {
  const { cellWidth, background = PALETTE.paper } = options;
  const columns = Math.max(0, ...rows.map((row) => row.length));
  if (columns === 0) throw new SightlineError('INVALID_INPUT', 'A contact sheet needs at least one picture.');
  const size = Math.min(18, Math.max(10, Math.round(cellWidth / 17)));
  const gap = options.gap ?? Math.max(8, Math.round(cellWidth / 16));
  const margin = Math.max(gap, 2 * size);

  const captions = await Promise.all(
    rows.map((row) =>
      Promise.all(row.map((cell) => renderParagraph(cell?.caption ?? '', { size, maxWidth: cellWidth, maxLines: 2 }))),
    ),
  );
  const heads = await Promise.all(
    (options.columnHeads ?? [])
      .slice(0, columns)
      .map((head) => renderParagraph(head, { size: size + 1, weight: 'bold', maxWidth: cellWidth, maxLines: 2 })),
  );
  const sides = await Promise.all(
    (options.rowHeads ?? [])
      .slice(0, rows.length)
      .map((head) =>
        renderParagraph(head, { size: size + 1, weight: 'bold', maxWidth: Math.max(160, cellWidth), maxLines: 3 }),
      ),
  );
  const sideWidth = Math.max(0, ...sides.flat().map((line) => line.width));
  const side = sideWidth === 0 ? 0 : sideWidth + gap;
  const gridWidth = columns * cellWidth + (columns - 1) * gap;
  const title = await renderParagraph(options.title ?? '', {
    size: Math.round(size * 1.5),
    weight: 'bold',
    maxWidth: side + gridWidth,
    maxLines: 2,
  });

  const headHeight = tallest(heads);
  const titleSpace = title.length === 0 ? 0 : linesHeight(title) + size;
  const gridTop = margin + titleSpace + (headHeight === 0 ? 0 : headHeight + Math.round(size / 2));
  const captionGap = Math.round(size / 3);
  const heights = rows.map((row, r) => {
    const caption = tallest(captions[r]!);
    return {
      picture: Math.max(0, ...row.map((cell) => cell?.picture.height ?? 0)),
      caption: caption === 0 ? 0 : caption + captionGap,
    };
  });
  const gridHeight =
    heights.reduce((sum, { picture, caption }) => sum + picture + caption, 0) + (rows.length - 1) * gap;

  const canvas = createCanvas(margin + side + gridWidth + margin, gridTop + gridHeight + margin, background);
  drawLines(canvas, title, { left: margin, top: margin, width: side + gridWidth, color: PALETTE.ink });
  heads.forEach((lines, column) => {
    // Heads of one line stand at the foot of a two-line band, near their pictures.
    const top = gridTop - Math.round(size / 2) - linesHeight(lines);
    drawLines(canvas, lines, {
      left: margin + side + column * (cellWidth + gap),
      top,
      width: cellWidth,
      align: 'center',
      color: PALETTE.ink,
    });
  });
  let top = gridTop;
  rows.forEach((row, r) => {
    const { picture: height, caption } = heights[r]!;
    const lines = sides[r] ?? [];
    drawLines(canvas, lines, {
      left: margin,
      top: top + Math.round((height - linesHeight(lines)) / 2),
      width: sideWidth,
      align: 'right',
      color: PALETTE.ink,
    });
    row.forEach((cell, column) => {
      if (cell === null) return;
      const left = margin + side + column * (cellWidth + gap);
      paste(
        canvas,
        cell.picture,
        left + Math.round((cellWidth - cell.picture.width) / 2),
        top + Math.round((height - cell.picture.height) / 2),
      );
      drawLines(canvas, captions[r]![column]!, {
        left,
        top: top + height + captionGap,
        width: cellWidth,
        align: 'center',
        color: PALETTE.muted,
      });
    });
    top += height + caption + gap;
  });
  return canvas;
}

function tallest(texts: readonly (readonly TextLine[])[]): number {
  return Math.max(0, ...texts.map(linesHeight));
}
