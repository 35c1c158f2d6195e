import type { NativeRequest, Tensor } from '../engine/native-types.js';
import { throwIfAborted } from '../support/abort.js';
import { shown } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import { checkHeld, heldBytes, type ImageInput } from './image-input.js';
import { decodeImage, type DecodedImage, type DecodeOptions } from './source.js';
import { normalizationOf, type ModelInput } from '../models/card.js';
import { inputGeometry, type Geometry } from './geometry.js';
import { inTurn } from '../support/event-loop.js';

/**
 * Finished model inputs in float32, [N, channels, H, W] or as the model takes them, which go in untouched: a plain
 * object, or an array that has a `shape`.
 */
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
  /** The picture it was made from, and the part of it that the model saw. */
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
  if (!(data instanceof Float32Array)) {
    throw new SightlineError('INVALID_INPUT', `${name} is a tensor whose data is no Float32Array.`);
  }
  const [count, ...image] = shape;
  if (shape.length !== 4 || !shape.every((size) => Number.isSafeInteger(size) && size > 0)) {
    throw new SightlineError(
      'INVALID_INPUT',
      `${name} is a tensor of shape ${shown(shape)}; a model takes four axes, such as [N, 3, H, W].`,
    );
  }
  const size = image.reduce((product, length) => product * length, 1);
  if (data.length !== count! * size) {
    throw new SightlineError(
      'INVALID_INPUT',
      `${name} is a tensor of ${data.length} values, but its shape [${shape.join(', ')}] asks for ${count! * size}.`,
    );
  }
  return Array.from({ length: count! }, (_, i) => ({
    input: { data: data.subarray(i * size, (i + 1) * size), shape: [1, ...image] },
    name,
    heldBytes: size * Float32Array.BYTES_PER_ELEMENT,
  }));
}

/** What a model takes of images. */
export interface ImageAxes {
  readonly channels: number;
  readonly isChannelsLast: boolean;
}

/** Height and width of a tensor's images, checked for the model's channels. */
export function tensorSize(
  tensor: TensorInput,
  name: string,
  { channels, isChannelsLast }: ImageAxes,
): { readonly height: number; readonly width: number } {
  const [, first, second, third] = tensor.shape as readonly [number, number, number, number];
  if ((isChannelsLast ? third : first) !== channels) {
    throw new SightlineError(
      'INVALID_INPUT',
      `${name} is a tensor of shape ${shown(tensor.shape)}; the model takes ${isChannelsLast ? `[N, H, W, ${channels}]` : `[N, ${channels}, H, W]`}.`,
    );
  }
  return isChannelsLast ? { height: first, width: second } : { height: second, width: third };
}

/** Decodes an image and places it in the model's input; a tensor (of one image) is taken as it is. */
export async function prepareInput(
  { input, name, heldBytes: held }: HandedInput,
  card: ModelInput,
  axes: ImageAxes,
  options: Pick<DecodeOptions, 'signal' | 'maxPixels' | 'svg' | 'imageFiles'>,
): Promise<PreparedInput> {
  const { channels } = axes;
  if (isTensorInput(input)) {
    const { height, width } = tensorSize(input, name, axes);
    // Copied, since it is the user's, who may go on writing to it.
    const tensor = await inTurn(() => {
      throwIfAborted(options.signal);
      const data = input instanceof Float32Array ? input : input.data;
      checkHeld(data, held, name);
      return axes.isChannelsLast ? channelsFirst(data, channels) : data.slice();
    });
    return {
      name,
      request: { label: name, height, width, tensor },
      picture: () => ({
        image: denormalized(tensor, height, width, card, name),
        box: { left: 0, top: 0, width, height },
      }),
    };
  }
  if (channels !== 1 && channels !== 3) {
    throw new SightlineError(
      'INVALID_INPUT',
      `${name} is a picture, but the model takes images of ${channels} channels; give it tensors ${axes.isChannelsLast ? `[N, H, W, ${channels}]` : `[N, ${channels}, H, W]`}.`,
    );
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
        mean: scaledForEngine(card.mean, card),
        std: scaledForEngine(card.std, card),
        channels: channels === 1 ? 'gray' : (card.order ?? 'rgb'),
      },
    },
    picture: () => ({ image, box }),
  };
}

/** Of values in [0, 1], three numbers. */
function scaledForEngine(values: readonly number[], { range = 1 }: ModelInput): readonly number[] {
  const scaled = values.map((value) => value / range);
  return scaled.length === 1 ? [scaled[0]!, scaled[0]!, scaled[0]!] : scaled;
}

/** [H, W, channels] as [channels, H, W]. */
function channelsFirst(data: Float32Array, channels: number): Float32Array {
  const area = data.length / channels;
  const moved = new Float32Array(data.length);
  for (let channel = 0; channel < channels; channel++) {
    for (let i = 0; i < area; i++) moved[channel * area + i] = data[i * channels + channel]!;
  }
  return moved;
}

/**
 * The picture that a preprocessed tensor was made of, as far as the card's mean and deviation tell; of other channels
 * than colors and gray their mean, from the lowest (black) to the highest (white).
 */
function denormalized(
  tensor: Float32Array,
  height: number,
  width: number,
  card: ModelInput,
  name: string,
): DecodedImage {
  const data = new Uint8Array(height * width * 3);
  const plane = height * width;
  const channels = tensor.length / plane;
  const isPicture = channels === 1 || channels === 3;
  const { mean, std } = normalizationOf(card);
  const level = (value: number): number => Math.max(0, Math.min(255, Math.round(value * 255)));
  if (isPicture) {
    for (let i = 0; i < plane; i++) {
      for (let c = 0; c < 3; c++) {
        const from = channels === 1 ? 0 : card.order === 'bgr' ? 2 - c : c;
        data[i * 3 + c] = level(tensor[from * plane + i]! * std[from]! + mean[from]!);
      }
    }
    return { data, width, height, name };
  }
  const means = new Float32Array(plane);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < plane; i++) means[i]! += tensor[c * plane + i]! / channels;
  }
  const low = means.reduce((least, value) => Math.min(least, value), Infinity);
  const high = means.reduce((most, value) => Math.max(most, value), -Infinity);
  means.forEach((value, i) => data.fill(high > low ? level((value - low) / (high - low)) : 128, 3 * i, 3 * i + 3));
  return { data, width, height, name };
}
