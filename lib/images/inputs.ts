import type { NativeRequest, Tensor } from '../engine/native-types.js';
import { throwIfAborted } from '../support/abort.js';
import { shown } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import { checkHeld, decodeImage, heldBytes, type DecodedImage, type DecodeOptions, type ImageInput } from './source.js';
import type { ModelInput } from '../models/card.js';
import { inputGeometry, type Geometry } from './geometry.js';
import { inTurn } from '../support/event-loop.js';

/** Finished model inputs [N, 3, H, W] in float32, which go in untouched: a plain object, or an array that has a `shape`. */
export type TensorInput = Tensor | (Float32Array & { readonly shape: readonly number[] });

/** An image, or a tensor that stands for N images. */
export type Input = ImageInput | TensorInput;

/** One image as the caller handed it over. */
export interface HandedInput {
  readonly input: Input;
  /** What messages call it. */
  readonly name: string;
  /** Bytes of the caller's memory that it lies in; null where it lies in none. */
  readonly heldBytes: number | null;
}

/** One image on its way into the model. */
export interface PreparedInput {
  readonly request: Omit<NativeRequest, 'targets' | 'against'>;
  readonly name: string;
  /** The picture behind it, and the part of it that the model saw. */
  readonly picture: () => { readonly image: DecodedImage; readonly box: Geometry['box'] };
}

export function isTensorInput(input: Input): input is TensorInput {
  return typeof input === 'object' && input !== null && 'shape' in input && Array.isArray((input as Tensor).shape);
}

/** The images that an input stands for; a tensor's shape is checked here, before anything is decoded. */
export function splitInput(input: Input, name: string): HandedInput[] {
  if (!isTensorInput(input)) return [{ input, name, heldBytes: heldBytes(input) }];
  const data = input instanceof Float32Array ? input : input.data;
  const { shape } = input;
  if (!(data instanceof Float32Array)) throw new SightlineError('INVALID_INPUT', `${name} is a tensor whose data is no Float32Array.`);
  const [count, channels, height, width] = shape;
  if (shape.length !== 4 || channels !== 3 || !shape.every((size) => Number.isSafeInteger(size) && size > 0)) {
    throw new SightlineError('INVALID_INPUT', `${name} is a tensor of shape ${shown(shape)}; the model takes [N, 3, H, W].`);
  }
  const size = 3 * height! * width!;
  if (data.length !== count! * size) {
    throw new SightlineError('INVALID_INPUT', `${name} is a tensor of ${data.length} values, but its shape [${shape.join(', ')}] asks for ${count! * size}.`);
  }
  return Array.from({ length: count! }, (_, i) => ({
    input: { data: data.subarray(i * size, (i + 1) * size), shape: [1, 3, height!, width!] },
    name,
    heldBytes: size * Float32Array.BYTES_PER_ELEMENT,
  }));
}

/** Decodes an image and places it in the model's input; a tensor (of one image) is taken as it is. */
export async function prepareInput({ input, name, heldBytes: held }: HandedInput, card: ModelInput, options: Pick<DecodeOptions, 'signal' | 'maxPixels' | 'svg'>): Promise<PreparedInput> {
  if (isTensorInput(input)) {
    // Copied, since it is the user's, who may go on writing to it.
    const tensor = await inTurn(() => {
      throwIfAborted(options.signal);
      const data = input instanceof Float32Array ? input : input.data;
      checkHeld(data, held, name);
      return data.slice();
    });
    const [, , height, width] = input.shape;
    return {
      name,
      request: { label: name, height: height!, width: width!, tensor },
      picture: () => ({ image: denormalized(tensor, height!, width!, card, name), box: { left: 0, top: 0, width: width!, height: height! } }),
    };
  }
  const image = await decodeImage(input, { ...options, name, heldBytes: held });
  const { resized, crop, box } = inputGeometry(image.width, image.height, card);
  return {
    name: image.name,
    request: {
      label: image.name,
      height: crop.height,
      width: crop.width,
      pixels: image.data,
      sourceHeight: image.height,
      sourceWidth: image.width,
      preprocessing: {
        resizedWidth: resized.width,
        resizedHeight: resized.height,
        left: crop.left,
        top: crop.top,
        interpolation: card.interpolation,
        mean: card.mean,
        std: card.std,
      },
    },
    picture: () => ({ image, box }),
  };
}

/** The picture that a preprocessed tensor was made of, as far as the card's mean and deviation tell. */
function denormalized(tensor: Float32Array, height: number, width: number, card: ModelInput, name: string): DecodedImage {
  const data = new Uint8Array(height * width * 3);
  const plane = height * width;
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) {
      data[i * 3 + c] = Math.max(0, Math.min(255, Math.round((tensor[c * plane + i]! * card.std[c]! + card.mean[c]!) * 255)));
    }
  }
  return { data, width, height, name };
}
