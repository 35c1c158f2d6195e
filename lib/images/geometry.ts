import { SightlineError } from '../support/errors.js';
import type { ModelInput } from '../models/card.js';

/** How one image reaches a model's input: scaled whole to `resized`, then cut to `crop`. */
export interface Geometry {
  /** Whole pixels. */
  readonly resized: { readonly width: number; readonly height: number };
  /** In pixels of the resized image; whole. Its width and height are the model's input size. */
  readonly crop: { readonly left: number; readonly top: number; readonly width: number; readonly height: number };
  /** The crop in pixels of the original image, with fractions: what a heatmap over the model's input covers. */
  readonly box: { readonly left: number; readonly top: number; readonly width: number; readonly height: number };
}

const MAX_RESIZED_PIXELS = 0x3fff * 0x3fff;

/**
 * Where an image of the given size lands in the model's input, by torchvision's rules to the pixel: the long side is
 * cut, not rounded, to whole pixels, and crop offsets that fall on a half go to the even neighbor.
 *
 * torchvision pads with black where the resized image is smaller than the crop. Cards that lead there are refused by
 * `parseCard`, so this refuses too instead of padding.
 *
 * @throws SightlineError INVALID_IMAGE when the width or height is not a positive whole number or the image is so thin
 * that its resized form would not fit in memory, INVALID_CARD when the resized image is smaller than the crop.
 */
export function inputGeometry(width: number, height: number, input: ModelInput): Geometry {
  if (!Number.isSafeInteger(width) || !Number.isSafeInteger(height) || width < 1 || height < 1) {
    throw new SightlineError('INVALID_IMAGE', `An image of ${width} x ${height} pixels cannot be resized.`);
  }
  const resized = resizedSize(width, height, input.resize);
  // A line of 1 x 100,000 pixels is a small file, and 19 GB once its short side is 256.
  if (resized.width * resized.height > MAX_RESIZED_PIXELS) {
    throw new SightlineError(
      'INVALID_IMAGE',
      `An image of ${width} x ${height} pixels is too thin: resized for the model it would be ${resized.width} x ${resized.height}; cut it to a more usual shape first.`,
    );
  }
  if (
    input.crop === 'none'
      ? resized.width !== input.width || resized.height !== input.height
      : resized.width < input.width || resized.height < input.height
  ) {
    throw new SightlineError(
      'INVALID_CARD',
      `The card resizes an image of ${width} x ${height} to ${resized.width} x ${resized.height}, which does not fill the model's input of ${input.width} x ${input.height}.`,
    );
  }
  const crop = {
    left: halfToEven((resized.width - input.width) / 2),
    top: halfToEven((resized.height - input.height) / 2),
    width: input.width,
    height: input.height,
  };
  const acrossScale = width / resized.width;
  const downScale = height / resized.height;
  return {
    resized,
    crop,
    box: {
      left: crop.left * acrossScale,
      top: crop.top * downScale,
      width: crop.width * acrossScale,
      height: crop.height * downScale,
    },
  };
}

function resizedSize(width: number, height: number, resize: ModelInput['resize']): { width: number; height: number } {
  const { mode, size } = resize;
  if (typeof size !== 'number') return { width: size[0], height: size[1] };
  if (mode === 'exact') return { width: size, height: size };
  return width <= height
    ? { width: size, height: Math.trunc((size * height) / width) }
    : { width: Math.trunc((size * width) / height), height: size };
}

/**
 * Python's `round` of a number that ends in .0 or .5: halves go to the even neighbor, while Math.round takes them up.
 */
function halfToEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
