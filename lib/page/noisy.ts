import type { ServedModel } from '../service/about.js';
import type { Shown } from './state.js';

/** Deviation of the noise, as a share of the range of pixel values: it can hardly be seen. */
export const NOISE = 0.05;

/**
 * A copy of a picture with Gaussian noise, for methods that take no seed. The picture is first brought to the scale at
 * which the model sees it: noise of finer grain would be averaged away.
 */
export async function noisyCopy(picture: Shown, { input }: ServedModel, seed: number): Promise<Shown> {
  const { bitmap } = picture;
  const scale = Math.min(1, Math.max(input.width / bitmap.width, input.height / bitmap.height) * MARGIN);
  const [width, height] = [Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)];
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  const draw = gaussian(seed);
  for (let i = 0; i < image.data.length; i++) if (i % 4 !== 3) image.data[i]! += 255 * NOISE * draw();
  context.putImageData(image, 0, 0);
  const bytes = await new Promise<Blob>((resolve, reject) =>
    canvas.toBlob((blob) => (blob === null ? reject(new Error('The browser made no copy.')) : resolve(blob))),
  );
  // A number that no picture has, so that its answers are kept by themselves.
  return { ...picture, id: -(1000 * picture.id + seed), bytes };
}

/** Models crop a border away, so that the picture is larger than the input. */
const MARGIN = 1.15;

/** Normal numbers, the same for the same seed: mulberry32, and the transform of Box and Muller. */
function gaussian(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
