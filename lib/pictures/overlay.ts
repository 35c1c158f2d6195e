import { binding } from '../engine/binding.js';
import { SightlineError } from '../support/errors.js';
import { shown } from '../support/cut.js';
import { createCanvas, fillBox, PALETTE, paste, sharpOf, strokeBox, type Raster } from './canvas.js';
import { checkOptions, checkText } from './checks.js';
import { colormapTable, type Colormap } from './colormaps.js';
import { axisTaps, rangeOf, shortNumber, type HeatMapLike, type HeatRange, type Interpolation } from './heat.js';
import { eachRow } from '../support/event-loop.js';
import type { DecodedImage } from '../images/source.js';
import { Picture } from './picture.js';
import { drawLines, linesHeight, renderLine, renderParagraph } from './text.js';

/** A rectangle of the original image, in its pixels; may have fractions and may reach past the edges. */
export interface Region {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** How a map is painted over its image. */
export interface OverlayOptions {
  /** Default `turbo`. */
  readonly colormap?: Colormap | undefined;
  /** Share of the color over the image, 0 (image only) to 1 (color only). Default 0.5. */
  readonly opacity?: number | undefined;
  /** The part of the image that the map covers, such as the model's center crop. Default the whole image. */
  readonly box?: Region | undefined;
  /** Draw a color bar to the right of the image. Default false. */
  readonly legend?: boolean | undefined;
  /** Text above the image; broken to at most three lines. Default: none. */
  readonly title?: string | undefined;
  /** Width in pixels at which the image is shown, without the legend: 1 to 16,384. Default its own. */
  readonly width?: number | undefined;
  /** Default `bilinear`. */
  readonly interpolation?: Interpolation | undefined;
  /**
   * Spread the colors from the map's smallest to its largest value even where all lie within [0, 1], as the raw values
   * of attention do. Default false.
   */
  readonly stretch?: boolean | undefined;
}

/**
 * Paints a heatmap over its image. The picture is drawn when it is first asked for; the map is copied at once.
 *
 * Values within [0, 1] are painted as they are unless `stretch` is set, others are stretched from their smallest to
 * their largest first.
 * Between grid points they are interpolated before they become colors, since mixed colors are not in the color map.
 * Outside `box` the image stays as it is. A flat map or one with NaN has nothing to show: the image is then gray, with
 * a line that says so.
 *
 * @throws SightlineError INVALID_OPTION, at once, for an unknown color map, a number out of its range or a title that
 * is no text.
 */
export function overlay(image: DecodedImage, map: HeatMapLike, options: OverlayOptions = {}): Picture {
  const plan = checked(image, map, options);
  // A copy, since the map is the caller's, who may write to it or transfer it before the picture is drawn.
  const { shape, state } = map;
  const own: HeatMapLike = { data: map.data.slice(), shape, state };
  // Deflate finds next to nothing in a photo under colors: at sharp's own level it takes twice the time of all the
  // rest, for 8 % of the size. Paper and text around it are worth it.
  return new Picture(() => compose(image, own, plan), { compressionLevel: isFramed(plan) ? 6 : 0 });
}

interface Plan {
  readonly table: Uint8Array;
  readonly opacity: number;
  readonly box: Region;
  readonly legend: boolean;
  readonly title: string;
  readonly width: number;
  readonly height: number;
  readonly interpolation: Interpolation;
  readonly stretch: boolean;
}

function checked(image: DecodedImage, map: HeatMapLike, options: OverlayOptions): Plan {
  const refuse = (message: string): never => {
    throw new SightlineError('INVALID_OPTION', message);
  };
  checkOptions('overlay', options);
  checkText('title', options.title);
  const { opacity = 0.5, interpolation = 'bilinear', width = image.width } = options;
  const box = options.box ?? { left: 0, top: 0, width: image.width, height: image.height };
  if (typeof opacity !== 'number' || !(opacity >= 0 && opacity <= 1)) {
    refuse(`opacity is ${shown(opacity)}; give a number from 0 (image only) to 1 (color only).`);
  }
  if (interpolation !== 'bilinear' && interpolation !== 'nearest') {
    refuse(`interpolation is ${shown(interpolation)}; give "bilinear" or "nearest".`);
  }
  if (!Number.isInteger(width) || width < 1 || width > 16384) {
    refuse(`width is ${shown(width)}; give a whole number of pixels from 1 to 16384.`);
  }
  if (![box?.left, box?.top, box?.width, box?.height].every(Number.isFinite) || box.width <= 0 || box.height <= 0) {
    refuse(`box is ${shown(box)}; give { left, top, width, height } in pixels, width and height above 0.`);
  }
  const [rows, columns] = map.shape;
  if (map.data.length !== rows * columns || map.data.length === 0) {
    throw new SightlineError(
      'INVALID_INPUT',
      `A map of shape [${rows}, ${columns}] cannot have ${map.data.length} numbers.`,
    );
  }
  return {
    table: colormapTable(options.colormap ?? 'turbo'),
    opacity,
    box,
    legend: options.legend ?? false,
    title: options.title ?? '',
    width,
    height: Math.max(1, Math.round((image.height * width) / image.width)),
    interpolation,
    stretch: options.stretch ?? false,
  };
}

function isFramed(plan: Plan): boolean {
  return plan.legend || plan.title !== '';
}

async function compose(image: DecodedImage, map: HeatMapLike, plan: Plan): Promise<Raster> {
  const found = rangeOf(map.data);
  const range: HeatRange = map.state === 'ok' ? found : { ...found, state: map.state };
  const picture = await sized(image, plan);
  // A map within [0, 1] keeps its meaning (0.5 is half), so it is not stretched.
  const scale = !plan.stretch && range.min >= 0 && range.max <= 1 ? { min: 0, max: 1 } : range;
  if (range.state === 'ok') await paint(picture, image, map, plan, scale);
  else await refusePaint(picture, range.state);
  return isFramed(plan) ? framed(picture, plan, range.state === 'ok' ? scale : null) : picture;
}

/** The image at its output size, in memory of its own, so that painting leaves the decoded image untouched. */
async function sized(image: DecodedImage, plan: Plan): Promise<Raster> {
  const { width, height } = plan;
  if (width !== image.width) {
    return { data: await sharpOf(image).resize(width, height, { fit: 'fill' }).raw().toBuffer(), width, height };
  }
  const data = Buffer.allocUnsafeSlow(3 * width * height);
  await eachRow(height, (y) => data.set(image.data.subarray(3 * y * width, 3 * (y + 1) * width), 3 * y * width));
  return { data, width, height };
}

async function paint(
  picture: Raster,
  image: DecodedImage,
  map: HeatMapLike,
  plan: Plan,
  scale: { min: number; max: number },
): Promise<void> {
  const [rows, columns] = map.shape;
  const toX = picture.width / image.width;
  const toY = picture.height / image.height;
  const { table, opacity, interpolation } = plan;
  const box = {
    left: plan.box.left * toX,
    top: plan.box.top * toY,
    width: plan.box.width * toX,
    height: plan.box.height * toY,
  };
  // Pixels whose center lies in the box.
  const first = (start: number): number => Math.max(0, Math.ceil(start - 0.5));
  const end = (stop: number, size: number): number => Math.min(size, Math.ceil(stop - 0.5));
  await binding().paint({
    picture: picture.data,
    width: picture.width,
    map: map.data,
    columns,
    across: axisTaps(picture.width, box.left, box.width, columns, interpolation),
    down: axisTaps(picture.height, box.top, box.height, rows, interpolation),
    left: first(box.left),
    right: end(box.left + box.width, picture.width),
    top: first(box.top),
    bottom: end(box.top + box.height, picture.height),
    smallest: scale.min,
    stretch: 255 / (scale.max - scale.min),
    colours: table,
    mixtures: mixtures(opacity),
  });
}

/** What each color (high byte) over each pixel (low byte) becomes, of the opacity last used: 65,536 of them. */
let known: { readonly opacity: number; readonly table: Uint8Array } | null = null;

function mixtures(opacity: number): Uint8Array {
  if (known?.opacity === opacity) return known.table;
  const table = new Uint8Array(65536);
  for (let over = 0; over < 256; over++) {
    for (let under = 0; under < 256; under++) table[(over << 8) | under] = Math.round(under + opacity * (over - under));
  }
  known = { opacity, table };
  return table;
}

const NOTHING_TO_PAINT = {
  flat: 'flat map: every place counts the same',
  nan: 'no map: it holds numbers that are not finite',
} as const;

/** Turns the picture gray and writes on a dark strip along its foot why nothing is painted. */
async function refusePaint(picture: Raster, state: 'flat' | 'nan'): Promise<void> {
  await eachRow(picture.height, (y) => {
    for (let at = 3 * y * picture.width; at < 3 * (y + 1) * picture.width; at += 3) {
      // Rec. 709 luma, half of it washed out towards light gray, so that it cannot be taken for a painted map.
      const luma = 0.2126 * picture.data[at]! + 0.7152 * picture.data[at + 1]! + 0.0722 * picture.data[at + 2]!;
      picture.data.fill(Math.round(0.6 * luma + 0.4 * 200), at, at + 3);
    }
  });
  const size = textSize(picture.width);
  const margin = Math.round(size / 2);
  const lines = await renderParagraph(NOTHING_TO_PAINT[state], {
    size,
    maxWidth: Math.max(1, picture.width - 2 * margin),
    maxLines: 2,
  });
  const height = linesHeight(lines) + margin;
  fillBox(picture, { left: 0, top: picture.height - height, width: picture.width, height }, PALETTE.ink, 0.8);
  drawLines(picture, lines, {
    left: margin,
    top: picture.height - height + Math.round(margin / 2),
    width: picture.width - 2 * margin,
    align: 'center',
    color: PALETTE.paper,
  });
}

/** The picture on white paper with its title above and the color bar at its right; `scale` null leaves out the bar. */
async function framed(picture: Raster, plan: Plan, scale: { min: number; max: number } | null): Promise<Raster> {
  const size = textSize(picture.width);
  const margin = size;
  const legend = plan.legend && scale !== null ? await legendLabels(scale, size) : null;
  const bar = Math.max(8, Math.round(size * 0.9));
  const side =
    legend === null ? 0 : margin + bar + Math.round(size / 2) + Math.max(...legend.map((line) => line.width));
  const heading = await renderParagraph(plan.title, {
    size: Math.round(size * 1.1),
    weight: 'bold',
    maxWidth: picture.width + side,
    maxLines: 3,
  });
  const head = heading.length === 0 ? 0 : linesHeight(heading) + Math.round(margin * 0.6);

  const canvas = createCanvas(picture.width + side + 2 * margin, picture.height + head + 2 * margin);
  drawLines(canvas, heading, { left: margin, top: margin, width: picture.width + side, color: PALETTE.ink });
  const top = margin + head;
  paste(canvas, picture, margin, top);
  if (legend !== null) {
    const box = { left: margin + picture.width + margin, top, width: bar, height: picture.height };
    for (let y = 0; y < box.height; y++) {
      const entry = 3 * Math.round(255 * (1 - (y + 0.5) / box.height));
      fillBox(canvas, { ...box, top: top + y, height: 1 }, [
        plan.table[entry]!,
        plan.table[entry + 1]!,
        plan.table[entry + 2]!,
      ]);
    }
    strokeBox(canvas, box, PALETTE.hairline);
    const [high, low] = legend;
    const left = box.left + bar + Math.round(size / 2);
    drawLines(canvas, [high], { left, top, width: high.width, color: PALETTE.muted });
    drawLines(canvas, [low], { left, top: top + picture.height - low.height, width: low.width, color: PALETTE.muted });
  }
  return canvas;
}

/** "high" and "low" for a map in [0, 1], where the numbers say nothing; the numbers themselves for a raw one. */
async function legendLabels(scale: { min: number; max: number }, size: number) {
  const relative = scale.min === 0 && scale.max === 1;
  const style = { size: Math.round(size * 0.9) };
  return [
    await renderLine(relative ? 'high' : shortNumber(scale.max), style),
    await renderLine(relative ? 'low' : shortNumber(scale.min), style),
  ] as const;
}

/** Text grows with the picture: 12 pixels up to a width of 380, 1/32 of the width beyond. */
function textSize(width: number): number {
  return Math.min(48, Math.max(12, Math.round(width / 32)));
}
