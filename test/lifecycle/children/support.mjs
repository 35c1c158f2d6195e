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
  input: {
    width,
    height,
    mean: [0, 0, 0],
    std: [1, 1, 1],
    resize: { mode: 'exact', size: [width, height] },
    interpolation: 'bilinear',
    crop: 'none',
  },
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
 * How far an answer lies from another of the same image, in shares of what rounding explains, as
 * test/support/rounding.ts has it: each operator rounds once, there and back, and what that makes grows as the answer
 * moves farther than nudged pixels. More than 1 is wrong.
 */
async function shareOfRounding(model, answer, image, found, expected) {
  const roundoff = 2 ** -24;
  const nudge = 16 * roundoff;
  const rounding = 2 * (await model.inspect()).operators * roundoff;
  const apart = distance(found, expected);
  let condition = 1;
  for (let seed = 1; seed <= 12 && !(apart <= rounding * condition); seed++) {
    const signs = tensor(1, image.shape[2], image.shape[3], 977 * seed).data;
    const data = image.data.map((value, i) => value * (1 + Math.sign(signs[i]) * nudge));
    condition = Math.max(condition, distance(await answer({ ...image, data }), expected) / nudge);
  }
  return apart / (rounding * condition);
}

/**
 * As many unlike images, and how far their Grad-CAMs in a batch are from those alone: 1 and less is rounding.
 *
 * @param {number} count of the images, each `side` pixels high and wide
 */
export async function gradCamsOf(model, count, side) {
  const one = tensor(1, side, side);
  const images = Array.from({ length: count }, (_, i) => ({
    data: one.data.map((value) => value * (1 + i / count)),
    shape: one.shape,
  }));
  const explain = (given) => model.explain(given, { method: 'grad-cam', targets: [1] });
  const alone = async (image) => (await explain(image))[0].maps[0].data;
  const expected = [];
  for (const image of images) expected.push(await alone(image));
  const difference = async (found) => {
    let largest = 0;
    for (const [i, { maps }] of found.entries()) {
      largest = Math.max(largest, await shareOfRounding(model, alone, images[i], maps[0].data, expected[i]));
    }
    return largest;
  };
  return { images, explain, difference };
}

/** The largest difference, of the largest expected value; NaN is as far as can be. */
function distance(found, expected) {
  const size = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const apart = (value, i) => (Number.isNaN(value - expected[i]) ? Infinity : Math.abs(value - expected[i]));
  return found.reduce((most, value, i) => Math.max(most, apart(value, i)), 0) / size;
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
