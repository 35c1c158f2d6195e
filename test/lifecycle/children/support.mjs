// What the children share. They report through stdout, which is a pipe and so is written at once.
import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export { pause, until } from '../../support/progress.mjs';

export const stage = (name) => writeSync(1, `@stage ${name}\n`);
export const report = (value) => writeSync(1, `@report ${JSON.stringify(value)}\n`);

export const archive = (name) => fileURLToPath(new URL(`../../parity/archives/${name}.pt`, import.meta.url));
/** Small enough that a run takes milliseconds: 24 x 40 images, 7 classes. */
export const VIT = archive('timm-vit-fused-traced');
/** Takes images of any size that is a multiple of 8: 7 classes. */
export const RESNET = archive('timm-resnet-traced');

export const card = (height, width) => ({
  name: 'child',
  input: { width, height, mean: [0, 0, 0], std: [1, 1, 1], resize: { mode: 'exact', size: [width, height] }, interpolation: 'bilinear', crop: 'none' },
});
export const VIT_OPTIONS = { device: 'cpu', card: card(24, 40) };
export const RESNET_OPTIONS = { device: 'cpu', card: card(64, 64) };

/** Finished tensors [count, 3, height, width], the same for the same seed. */
export function tensor(count, height, width, seed = 1) {
  let state = seed;
  const data = Float32Array.from({ length: count * 3 * height * width }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  return { data, shape: [count, 3, height, width] };
}

/**
 * A method that runs the model on one image after another, practically for ever: work that only an abort, a close or
 * the end of the process can stop.
 */
export function endless(sightline, z) {
  const { accumulate, grad, mean, noise } = sightline.symbolic;
  return sightline.defineMethod({
    name: 'endless',
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
}
