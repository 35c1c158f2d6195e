import { z } from 'zod';

import type { PreparedInput } from '../../images/inputs.js';
import { SightlineError } from '../../support/errors.js';

/** A rectangle in pixels of the picture; its right and bottom edges lie outside of it. */
export interface Box {
  /** Pixels from the picture's left edge. */
  readonly left: number;
  /** Pixels from its upper edge. */
  readonly top: number;
  /** Pixels: at least 0. */
  readonly width: number;
  /** Pixels: at least 0. */
  readonly height: number;
}

/**
 * Where the object lies in a picture: boxes, or a mask of the picture's own size, row-major, not 0 on the object. Of a
 * tensor the picture is the model's input.
 */
export type ObjectPlace =
  | { readonly boxes: readonly Box[] }
  | { readonly data: Uint8Array | Float32Array; readonly width: number; readonly height: number };

const length = z.number().nonnegative();
const box = z.strictObject({ left: z.number(), top: z.number(), width: length, height: length });
/** An `ObjectPlace` as a request gives it. */
export const placeSchema = z.union(
  [
    z.strictObject({ boxes: z.array(box).min(1) }),
    z.strictObject({
      data: z.union([z.instanceof(Uint8Array), z.instanceof(Float32Array)]),
      width: z.int().min(1),
      height: z.int().min(1),
    }),
  ],
  { error: '{ boxes: [{ left, top, width, height }] } or a mask { data, width, height } is expected' },
);

/** Whether the object covers the pixel at a place of the picture, which may lie between pixels. */
type Covers = (x: number, y: number) => boolean;

/**
 * The object as the model's input shows it, resized and cut as the picture was: each pixel takes the place of its own
 * center. 1 on the object, else 0: row-major [height, width]. `size`: in how many places, as many as pixels by default.
 *
 * @throws SightlineError INVALID_INPUT for a mask of another size than the picture's
 */
export function maskInView(
  object: ObjectPlace,
  { name, request, picture }: PreparedInput,
  { height, width }: { readonly height: number; readonly width: number } = request,
): Float32Array {
  const { image, box } = picture();
  const covers = coverage(object, image, name);
  const mask = new Float32Array(height * width);
  for (let row = 0; row < height; row++) {
    const y = box.top + ((row + 0.5) * box.height) / height;
    for (let column = 0; column < width; column++) {
      if (covers(box.left + ((column + 0.5) * box.width) / width, y)) mask[row * width + column] = 1;
    }
  }
  return mask;
}

function coverage(
  object: ObjectPlace,
  picture: { readonly width: number; readonly height: number },
  name: string,
): Covers {
  if ('boxes' in object) {
    return (x, y) =>
      object.boxes.some(
        ({ left, top, width, height }) => x >= left && x < left + width && y >= top && y < top + height,
      );
  }
  const { data, width, height } = object;
  if (width !== picture.width || height !== picture.height) {
    throw new SightlineError(
      'INVALID_INPUT',
      `The mask of ${name} has ${width} x ${height} pixels, and the picture ${picture.width} x ${picture.height}; give one of the picture's size.`,
    );
  }
  return (x, y) => data[Math.min(height - 1, Math.floor(y)) * width + Math.min(width - 1, Math.floor(x))] !== 0;
}
