import { SightlineError } from '../../support/errors.js';

/** Windows along one axis. */
export interface Windows {
  readonly count: number;
  /** [count, length]: 1 inside each window. */
  readonly inside: Float32Array;
  /** How many windows cover each place. */
  readonly covering: Float32Array;
}

/**
 * Windows of `size` every `stride` places of an axis.
 *
 * @param edge `clip`: as many as reach the end, the last cut off there; `inside`: only those that lie wholly inside
 */
export function windowsAlong(length: number, size: number, stride: number, edge: 'clip' | 'inside'): Windows {
  const count = (edge === 'clip' ? Math.ceil : Math.floor)((length - size) / stride) + 1;
  const inside = new Float32Array(count * length);
  const covering = new Float32Array(length);
  for (let window = 0; window < count; window++) {
    for (let at = window * stride; at < Math.min(window * stride + size, length); at++) {
      inside[window * length + at] = 1;
      covering[at]!++;
    }
  }
  return { count, inside, covering };
}

/** A run of the model each: so many take hours for one image. */
const MOST_WINDOWS = 1_000_000;

/**
 * @throws SightlineError INVALID_OPTION for windows larger than the image, strides that leave gaps, or windows without
 * end.
 */
export function checkWindows(
  image: readonly [number, number],
  window: readonly [number, number],
  stride: readonly [number, number],
): void {
  if (window[0] > image[0] || window[1] > image[1]) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The window of occlusion, ${window.join(' x ')} pixels, is larger than the model's input of ${image.join(' x ')}; choose a smaller one.`,
    );
  }
  if ([0, 1].some((axis) => stride[axis]! > window[axis]! && image[axis]! > window[axis]!)) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The stride of occlusion, ${stride.join(' x ')} pixels, leaves gaps between windows of ${window.join(' x ')}; make it no larger than the window.`,
    );
  }
  const windows = [0, 1].reduce(
    (product, axis) => product * (Math.ceil((image[axis]! - window[axis]!) / stride[axis]!) + 1),
    1,
  );
  if (windows > MOST_WINDOWS) {
    throw new SightlineError(
      'INVALID_OPTION',
      `Occlusion would run the model for ${windows.toLocaleString('en-US')} windows, and at most ${MOST_WINDOWS.toLocaleString('en-US')} are taken; choose a larger stride.`,
    );
  }
}
