import sharp from 'sharp';
import { z } from 'zod';

import { throwIfAborted } from '../../support/abort.js';
import { decodeImage } from '../../images/source.js';
import type { ImageInput, RawImage } from '../../images/image-input.js';
import { SightlineError } from '../../support/errors.js';
import { parseOptions, reading } from '../../support/options.js';
import { uniformNumbers } from '../../support/random.js';
import type { ObjectPlace } from './mask.js';

/** A picture, and the class that it shows. */
export interface LabelledImage {
  /** The picture. */
  readonly image: ImageInput;
  /** Its class: an index, or a label. */
  readonly target: number | string;
}

/** Options of `mosaics`. */
export interface MosaicOptions {
  /** Cells along each side: 2 to 8. Default 2. */
  readonly grid?: number | undefined;
  /** How many images are made: 1 to 100,000. Default: as many as show each picture once, but at least one. */
  readonly count?: number | undefined;
  /** Pixels along each side of a cell: 1 to 2,048. Default 224. */
  readonly cell?: number | undefined;
  /** The seed by which pictures are drawn: 0 to 4,294,967,295. Default 0. */
  readonly seed?: number | undefined;
  /** Aborting rejects with ABORTED. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** Pictures of different classes side by side. */
export interface Mosaic {
  /** The picture, of grid x grid cells. */
  readonly image: RawImage;
  /** Each cell's class, and where it lies: row by row. */
  readonly cells: readonly { readonly target: number | string; readonly object: ObjectPlace }[];
}

const whole = (least: number, most: number) => {
  const error = `a whole number from ${least} to ${most} is expected`;
  return z.int({ error }).min(least, { error }).max(most, { error });
};
const labelled = z.array(z.object({ image: z.unknown(), target: z.union([z.string(), z.number()]) }));
const schema = z.strictObject({
  grid: whole(2, 8).default(2),
  count: whole(1, 100_000).optional(),
  cell: whole(1, 2048).default(224),
  seed: whole(0, 4_294_967_295).default(0),
  signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional(),
});

/**
 * Mosaics for the grid pointing game: a right map of a cell's class lies in that cell. `mass-accuracy` with the cell as
 * the object is the share that does. Pictures are scaled to fill their cells, and cut at the longer side.
 *
 * Böhle, Fritz & Schiele, Convolutional Dynamic Alignment Networks for Interpretable Classifications, CVPR 2021. They
 * take pictures that the model is sure of: choose these first.
 *
 * @throws SightlineError INVALID_OPTION where there are fewer classes than cells, and those of decoding a picture
 */
export async function* mosaics(
  pictures: readonly LabelledImage[],
  options: MosaicOptions = {},
): AsyncGenerator<Mosaic, void, undefined> {
  const { grid, count: asked, cell, seed, signal } = parseOptions(schema, options, 'mosaics');
  if (!reading('The pictures given to mosaics', () => labelled.safeParse(pictures)).success) {
    throw new SightlineError('INVALID_OPTION', 'mosaics takes a list of { image, target }, whose targets are classes.');
  }
  const cells = grid * grid;
  const classes = new Map<number | string, LabelledImage[]>();
  for (const picture of pictures) classes.set(picture.target, [...(classes.get(picture.target) ?? []), picture]);
  if (classes.size < cells) {
    throw new SightlineError(
      'INVALID_OPTION',
      `A mosaic of ${grid} x ${grid} shows ${cells} classes, and the pictures are of ${classes.size}; take a smaller \`grid\`, or pictures of more classes.`,
    );
  }
  const count = asked ?? Math.max(1, Math.floor(pictures.length / cells));
  const uniform = uniformNumbers(seed);
  const draw = <T>(from: readonly T[]): T => from[Math.floor(uniform() * from.length)]!;
  for (let made = 0; made < count; made++) {
    throwIfAborted(signal);
    const left = [...classes.values()];
    const chosen = Array.from({ length: cells }, () => {
      const at = Math.floor(uniform() * left.length);
      return draw(left.splice(at, 1)[0]!);
    });
    const tiles = await Promise.all(
      chosen.map(async ({ image }, at) => {
        const { data, width, height } = await decodeImage(image, { signal, name: `picture ${at} of a mosaic` });
        return sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false })
          .resize(cell, cell, { fit: 'cover' })
          .raw()
          .toBuffer();
      }),
    );
    const corner = (at: number) => ({ left: (at % grid) * cell, top: Math.floor(at / grid) * cell });
    const side = grid * cell;
    const data = new Uint8Array(3 * side * side);
    tiles.forEach((tile, at) => {
      const { left, top } = corner(at);
      for (let row = 0; row < cell; row++) {
        data.set(tile.subarray(3 * row * cell, 3 * (row + 1) * cell), 3 * ((top + row) * side + left));
      }
    });
    yield {
      image: { data, width: side, height: side, channels: 3 },
      cells: chosen.map(({ target }, at) => ({
        target,
        object: { boxes: [{ ...corner(at), width: cell, height: cell }] },
      })),
    };
  }
}
