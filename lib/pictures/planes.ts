import { SightlineError } from '../support/errors.js';
import { shown } from '../support/cut.js';
import { createCanvas, fillBox, PALETTE, type Raster } from './canvas.js';
import { checkOptions, checkText, checkTexts, checkWhole } from './checks.js';
import { colormapTable, type Colormap } from './colormaps.js';
import { rangeOf } from './heat.js';
import { Picture } from './picture.js';
import { layOut, type RasterCell } from './sheet.js';

/** A small array to be shown as a picture, such as one head's attention or one channel of the queries. */
export interface Plane {
  /** Row-major. */
  readonly data: Float32Array;
  /** Rows and columns. */
  readonly shape: readonly [height: number, width: number];
  /** Text below the plane. */
  readonly caption?: string | undefined;
}

/**
 * How numbers become brightness.
 * - `minmax`: each plane from its own smallest to its own largest number.
 * - `sigmoid`: x becomes 1 / (1 + e^-x), so zero is the middle of the color map, and signs contrast.
 * - `none`: the numbers as they are, cut to [0, 1]; planes can then be compared with each other.
 */
export type Contrast = 'minmax' | 'sigmoid' | 'none';

/** How planes are painted and laid out. */
export interface PlanesOptions {
  /** Planes in a row: 1 to 1,000. Default 12, the heads of a ViT-B, or fewer where there are fewer. */
  readonly columns?: number | undefined;
  /** Default `viridis`. */
  readonly colormap?: Colormap | undefined;
  /** Default `minmax`. */
  readonly contrast?: Contrast | undefined;
  /** Pixels per number along each side: 1 to 256. Default so that the widest plane takes about 112 pixels. */
  readonly scale?: number | undefined;
  /** Text above the sheet. Default: none. */
  readonly title?: string | undefined;
  /** Heads above the columns, from the left. Default: none. */
  readonly columnHeads?: readonly string[] | undefined;
  /** Heads at the left of the rows, from the top. Default: none. */
  readonly rowHeads?: readonly string[] | undefined;
}

/**
 * One sheet of many small arrays, each number a square of one color, row by row in the order given.
 *
 * A number that is not finite is left blank and its plane's caption says `NaN`. A plane of equal numbers under
 * `minmax` is left blank and says `flat`.
 *
 * @throws SightlineError INVALID_INPUT for a shape that does not fit its data or no plane at all, INVALID_OPTION for an
 * option out of range.
 */
export async function planesSheet(planes: readonly Plane[], options: PlanesOptions = {}): Promise<Picture> {
  checkOptions('planesSheet', options);
  checkText('title', options.title);
  checkTexts('columnHeads', options.columnHeads);
  checkTexts('rowHeads', options.rowHeads);
  checkPlanes(planes);
  const widest = Math.max(...planes.map(({ shape }) => shape[1]));
  const {
    columns = Math.min(12, planes.length),
    contrast = 'minmax',
    scale = Math.max(1, Math.round(112 / widest)),
  } = options;
  checkWhole('columns', columns, 1, 1000);
  checkWhole('scale', scale, 1, 256);
  if (contrast !== 'minmax' && contrast !== 'sigmoid' && contrast !== 'none') {
    throw new SightlineError('INVALID_OPTION', `contrast is ${shown(contrast)}; give "minmax", "sigmoid" or "none".`);
  }
  const table = colormapTable(options.colormap ?? 'viridis');
  const cells = planes.map((plane) => tile(plane, table, contrast, scale));
  const rows: RasterCell[][] = [];
  for (let first = 0; first < cells.length; first += columns) rows.push(cells.slice(first, first + columns));
  const { title, columnHeads, rowHeads } = options;
  const sheet = await layOut(rows, { cellWidth: widest * scale, title, columnHeads, rowHeads, gap: 8 });
  return new Picture(() => Promise.resolve(sheet));
}

function tile(plane: Plane, table: Uint8Array, contrast: Contrast, scale: number): RasterCell {
  const { data, shape, caption = '' } = plane;
  const [height, width] = shape;
  const picture: Raster = createCanvas(width * scale, height * scale, PALETTE.blank);
  const { min, max, state } = rangeOf(finiteOf(data));
  const flat = contrast === 'minmax' && state === 'flat';
  const bad = data.some((value) => !Number.isFinite(value));
  data.forEach((value, index) => {
    if (!Number.isFinite(value) || flat) return;
    const level =
      contrast === 'minmax' ? (value - min) / (max - min) : contrast === 'sigmoid' ? 1 / (1 + Math.exp(-value)) : value;
    const entry = 3 * Math.round(255 * Math.min(1, Math.max(0, level)));
    const box = { left: (index % width) * scale, top: Math.floor(index / width) * scale, width: scale, height: scale };
    fillBox(picture, box, [table[entry]!, table[entry + 1]!, table[entry + 2]!]);
  });
  const remark = bad ? 'NaN' : flat ? 'flat' : '';
  return { picture, caption: [caption, remark].filter((part) => part !== '').join(' · ') };
}

function finiteOf(data: Float32Array): Float32Array {
  return data.every(Number.isFinite) ? data : data.filter(Number.isFinite);
}

function checkPlanes(planes: unknown): void {
  if (!Array.isArray(planes)) {
    throw new SightlineError(
      'INVALID_INPUT',
      `The planes of a sheet are ${shown(planes)}; give a list of { data, shape }.`,
    );
  }
  if (planes.length === 0) throw new SightlineError('INVALID_INPUT', 'A sheet of planes needs at least one plane.');
  planes.forEach((plane: unknown, i) => {
    const { data, shape, caption } = (plane ?? {}) as Partial<Plane>;
    if (!(data instanceof Float32Array)) {
      throw new SightlineError('INVALID_INPUT', `The data of plane ${i} are no Float32Array.`);
    }
    checkText(`The caption of plane ${i}`, caption);
    const isShape =
      Array.isArray(shape) && shape.length === 2 && shape.every((length) => Number.isSafeInteger(length) && length > 0);
    if (!isShape || data.length !== shape[0] * shape[1]) {
      throw new SightlineError(
        'INVALID_INPUT',
        `Plane ${i} of shape ${shown(shape)} cannot have ${data.length} numbers; give [height, width].`,
      );
    }
  });
}
