import type { Input, TensorInput } from '../images/inputs.js';
import { isSvg } from '../images/readable.js';
import type { Model } from '../model/model.js';
import { SightlineError } from '../support/errors.js';
import { ServiceFailure } from './failure.js';

/**
 * The bytes of a picture that a client sent. Nothing else ever reaches the library, so no request can name a path or a
 * URL.
 *
 * @throws SightlineError INVALID_IMAGE for SVG, also where the model was loaded with `svg: true`
 */
export function pictureOf(bytes: Uint8Array, name: string): Uint8Array {
  if (isSvg(bytes)) {
    throw new SightlineError(
      'INVALID_IMAGE',
      `${name} is an SVG drawing, which is a program of its own; send JPEG, PNG, WebP, AVIF, GIF or TIFF.`,
    );
  }
  return bytes;
}

/** @throws ServiceFailure INVALID_REQUEST */
export function fromBase64(text: string, name: string): Uint8Array {
  const start = /^data:[^,]{0,200};base64,/.exec(text)?.[0].length ?? 0;
  const digits = text.slice(start);
  if (digits === '' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(digits)) {
    throw new ServiceFailure(
      'INVALID_REQUEST',
      `${name} is no base64; paths and URLs are not read, so send the bytes of the image.`,
    );
  }
  return Buffer.from(digits, 'base64');
}

/**
 * One of the `instances` of protocol V1: `{"b64": ...}`, also below `image`, `image_bytes` or `data`, or the model's
 * input as nested lists.
 *
 * @throws ServiceFailure INVALID_REQUEST
 */
export function instanceOf(instance: unknown, name: string, size: TensorSize): Input {
  if (Array.isArray(instance)) return nested(instance, name, size);
  const bytes = base64Of(instance);
  if (bytes === null) {
    throw new ServiceFailure(
      'INVALID_REQUEST',
      `${name} is neither {"b64": "..."} with the base64 of an image file nor a list of shape [${size.shape.join(', ')}].`,
    );
  }
  return pictureOf(fromBase64(bytes, name), name);
}

function base64Of(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return null;
  const { b64, image, image_bytes: imageBytes, data } = value as Record<string, unknown>;
  if (typeof b64 === 'string') return b64;
  if (typeof data === 'string') return data;
  for (const inner of [image, imageBytes, data]) {
    const { b64: found } = (inner ?? {}) as { b64?: unknown };
    if (typeof found === 'string') return found;
  }
  return null;
}

/** What the model's input is, without the batch axis. */
export interface TensorSize {
  readonly shape: readonly number[];
}

/** Tensors of the size that the metadata tells: another one would make the engine read the graph again. */
export async function tensorSizeOf(model: Model, signal: AbortSignal): Promise<TensorSize> {
  const { height, width, channels, isChannelsLast } = await model.inspect({ signal });
  return { shape: isChannelsLast ? [height, width, channels] : [channels, height, width] };
}

/** @throws ServiceFailure INVALID_REQUEST */
export function checkShape(shape: readonly number[], name: string, size: TensorSize): void {
  const [count, ...rest] = shape;
  if (
    rest.length === size.shape.length &&
    rest.every((length, axis) => length === size.shape[axis]) &&
    Number.isSafeInteger(count) &&
    count! > 0
  ) {
    return;
  }
  throw new ServiceFailure(
    'INVALID_REQUEST',
    `${name} has the shape [${shape.slice(0, 8).map(String).join(', ')}]; the model takes [N, ${size.shape.join(', ')}].`,
  );
}

function nested(list: readonly unknown[], name: string, size: TensorSize): TensorInput {
  const { shape } = size;
  const data = new Float32Array(shape.reduce((product, length) => product * length, 1));
  let at = 0;
  const fill = (value: unknown, axis: number): void => {
    if (axis === shape.length) {
      if (typeof value === 'number') {
        data[at++] = value;
        return;
      }
    } else if (Array.isArray(value) && value.length === shape[axis]) {
      for (const each of value) fill(each, axis + 1);
      return;
    }
    throw new ServiceFailure('INVALID_REQUEST', `${name} is no list of numbers of the shape [${shape.join(', ')}].`);
  };
  fill(list, 0);
  return { data, shape: [1, ...shape] };
}
