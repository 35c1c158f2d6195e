import { fileURLToPath } from 'node:url';

import { Model, type Input, type LoadOptions, type ModelCard } from '../../lib/index.js';
import type { Pixels } from './rounding.js';

/** A card that takes tensors of one size as they are. */
export function plainCard(height: number, width: number): ModelCard {
  return {
    name: 'plain',
    input: {
      width,
      height,
      mean: [0, 0, 0],
      std: [1, 1, 1],
      resize: { mode: 'exact', size: [width, height] },
      interpolation: 'bilinear',
      crop: 'none',
    },
  };
}

/** Sizes at which the parity archives were made. */
const SIZES: Record<string, readonly [height: number, width: number]> = {
  torchvision: [64, 64],
  timm: [24, 40],
  'torchvision-resnet': [32, 48],
  'conv-net': [32, 48],
  'quantised-static': [32, 48],
  linear: [8, 8],
};

export function archivePath(name: string): string {
  return fileURLToPath(new URL(`../parity/archives/${name}.pt`, import.meta.url));
}

/** A small archive of test/parity, at its own input size. */
export async function loadSmall(name: string, options: LoadOptions = {}): Promise<Model> {
  const key = Object.keys(SIZES)
    .sort((a, b) => b.length - a.length)
    .find((prefix) => name.startsWith(prefix));
  const [height, width] = SIZES[key ?? 'torchvision']!;
  return Model.load(archivePath(name), { device: 'cpu', card: plainCard(height, width), ...options });
}

/** Repeatable pixels: [count, 3, height, width] of a linear congruential generator, in [-1, 1). */
export function randomTensor(
  count: number,
  height: number,
  width: number,
  seed = 1,
): { data: Float32Array; shape: [number, number, number, number] } {
  let state = seed >>> 0;
  const data = Float32Array.from({ length: count * 3 * height * width }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  return { data, shape: [count, 3, height, width] };
}

/** What the model sees of an input: a tensor as it is, a picture preprocessed. */
export async function pixelsOf(model: Pick<Model, 'capture'>, image: Input): Promise<Pixels> {
  if (typeof image === 'object' && 'shape' in image) return image as Pixels;
  const { input } = await model.capture([image], { input: true });
  return input as Pixels;
}
