import {
  constant,
  mul,
  realFromSpectrum,
  rename,
  sigmoid,
  sum,
  blur as smooth,
  transpose,
  type Axis,
  type Value,
} from '../../symbolic/index.js';
import type { MaximizeRequest } from './options.js';

/** An image as a function of the numbers that are optimized. */
export interface Parametrization {
  /** Of the parameters, the batch axis first. */
  readonly axes: readonly Axis[];
  /** For one image, without the batch axis. */
  readonly shape: readonly number[];
  /** R, G, B in [0, 1]: [batch, channels, height, width]. */
  image(parameters: Value): Value;
  /** Parameters of the image smoothed before its sigmoid. */
  smoothed(parameters: Value, size: number, sigma: number): Value;
}

/**
 * Square root of the covariance of ImageNet's colors (rows R, G, B; columns its axes), as measured by Olah et al. 2017,
 * section "Preconditioning and parameterization". Divided below by the length of its longest column.
 */
const COLOR_ROOT = [
  [0.26, 0.09, 0.02],
  [0.27, 0, -0.05],
  [0.27, -0.09, 0.03],
] as const;

/** Olah et al. divide the image by 4 before the sigmoid, which keeps the start away from its flat ends. */
const SPECTRUM_GAIN = 1 / 4;

/** What `request` optimizes, at one image size. */
export function parametrizationOf(request: MaximizeRequest, height: number, width: number): Parametrization {
  const visible = (image: Value): Value => sigmoid(request.decorrelate ? correlated(image) : image);
  if (request.parametrization === 'pixel') {
    return {
      axes: ['batch', 'channels', 'height', 'width'],
      shape: [3, height, width],
      image: visible,
      smoothed: smooth,
    };
  }
  const frequencies = Math.floor(width / 2) + 1;
  const table = (parameters: Value, of: (row: number, column: number) => number): Value => {
    const data = Float32Array.from({ length: height * frequencies }, (_, i) =>
      of(Math.floor(i / frequencies), i % frequencies),
    );
    return constant(parameters, data, { height, frequency: frequencies });
  };
  return {
    axes: ['batch', 'channels', 'height', 'frequency', 'complex'],
    shape: [3, height, frequencies, 2],
    image: (parameters) => {
      const scale = table(
        parameters,
        (row, column) =>
          SPECTRUM_GAIN /
          Math.max(Math.hypot(cycles(row, height), column / width), 1 / Math.max(height, width)) ** request.decay,
      );
      return visible(realFromSpectrum(mul(parameters, scale), height, width));
    },
    // The image of a spectrum goes on at the opposite edge, so its blur is the product with the kernel's own spectrum.
    smoothed: (parameters, size, sigma) => {
      const weights = gaussian(size, sigma);
      return mul(
        parameters,
        table(parameters, (row, column) => response(weights, row / height) * response(weights, column / width)),
      );
    },
  };
}

/** Cycles per pixel of a row of a spectrum: the upper half stands for negative frequencies. */
function cycles(row: number, height: number): number {
  return (row <= height / 2 ? row : row - height) / height;
}

/** From the axes of ImageNet's colors to R, G, B. */
function correlated(image: Value): Value {
  const longest = Math.max(...[0, 1, 2].map((column) => Math.hypot(...COLOR_ROOT.map((row) => row[column]!))));
  const matrix = constant(
    image,
    Float32Array.from(COLOR_ROOT.flat(), (entry) => entry / longest),
    { colors: 3, channels: 3 },
  );
  return transpose(rename(sum(mul(image, matrix), 'channels'), 'colors', 'channels'), [
    'batch',
    'channels',
    'height',
    'width',
  ]);
}

function gaussian(size: number, sigma: number): number[] {
  const weights = Array.from({ length: size }, (_, i) => Math.exp(-((i - (size - 1) / 2) ** 2) / (2 * sigma ** 2)));
  const total = weights.reduce((before, each) => before + each, 0);
  return weights.map((each) => each / total);
}

/** How much of a frequency (cycles per pixel) a symmetric kernel leaves. */
function response(weights: readonly number[], frequency: number): number {
  const middle = (weights.length - 1) / 2;
  return weights.reduce((left, weight, i) => left + weight * Math.cos(2 * Math.PI * frequency * (i - middle)), 0);
}
