import { fileURLToPath } from 'node:url';

import { z } from 'zod';

import {
  defineMethod,
  stats,
  symbolic,
  type Method,
  type Model,
  type ModelCard,
  type Tensor,
} from '../../lib/index.js';
import { until as untilProgressEnds } from '../support/progress.mjs';

export interface TestModel {
  readonly path: string;
  readonly height: number;
  readonly width: number;
}

const archive = (name: string): string => fileURLToPath(new URL(`../parity/archives/${name}.pt`, import.meta.url));
/** Runs take milliseconds; both have 7 classes. The CNN takes every size that is a multiple of 8. */
export const VIT: TestModel = { path: archive('timm-vit-fused-traced'), height: 24, width: 40 };
export const CNN: TestModel = { path: archive('timm-resnet-traced'), height: 64, width: 64 };

export function cardOf({ height, width }: TestModel): ModelCard {
  return {
    name: 'test',
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

/** `count` finished tensors of noise, the same for the same seed. */
export function imagesOf(
  { height, width }: Pick<TestModel, 'height' | 'width'>,
  count: number,
  seed = 1,
): Tensor & { data: Float32Array } {
  let state = seed;
  const data = Float32Array.from({ length: count * 3 * height * width }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  return { data, shape: [count, 3, height, width] };
}

/** The i-th of several images, as a tensor of one. */
export function imageOf(images: Tensor & { data: Float32Array }, i: number): Tensor & { data: Float32Array } {
  const [, channels, height, width] = images.shape as [number, number, number, number];
  const size = channels * height * width;
  return { data: images.data.subarray(i * size, (i + 1) * size), shape: [1, channels, height, width] };
}

/**
 * A method that computes for ever in many small steps (with `memory: 1`), so that the engine is busy until the request
 * is aborted: what is submitted meanwhile waits in the queue.
 */
export function gate(): { readonly method: Method; readonly started: () => Promise<void> } {
  const { accumulate, grad, mean, noise } = symbolic;
  const method = defineMethod({
    name: 'gate',
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific: true,
    reasonAgainst: () => null,
    map: ({ model }) => {
      const total = accumulate(model.image, 10_000_000, (sample) => {
        const run = model.run(model.image.add(noise(model.image, sample, 1, 'normal')));
        return grad(run.score, run.image);
      });
      return mean(total, 'channels');
    },
  });
  return { method, started: () => until('the engine to be busy', () => stats().running > 0) };
}

/**
 * A task in the engine's queue, such as any size that nobody asked for before makes: nothing that comes after it passes
 * the work at hand, however short it is. Settles once the engine has come to it.
 */
export async function fence(model: Model, { height, width }: Pick<TestModel, 'height' | 'width'>): Promise<void> {
  await model.inspect({ height: 2 * height, width: 2 * width }).catch(() => undefined);
}

export const until = (what: string, condition: () => boolean): Promise<void> =>
  untilProgressEnds(what, condition, () => JSON.stringify(stats()));
