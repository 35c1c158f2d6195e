import {
  constant,
  contract,
  exp,
  lessEqual,
  rename,
  take,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';

/** The path from the blurred image to the sharp one. */
export interface BlurSettings {
  readonly steps: number;
  readonly maxSigma: number;
}

/** One step of the path: where the gradient is taken, and by what the pixels change. */
export interface BlurStep {
  readonly at: Value;
  readonly change: Value;
}

/** A Gaussian is cut off at so many standard deviations. */
const REACH = 4;
/** What stands for the exponent's factor where nothing is blurred: e to it is 0 one pixel away. */
const SHARP = -1e9;

/**
 * The images blurred by Gaussians of `sigmas` pixels' standard deviation, of which each sample takes the one that
 * `number` [batch] tells. Beyond the image is the model's mean color, 0. A sigma of 0 leaves the image as it is.
 */
export function scaleSpace(model: SymbolicModel, sigmas: readonly number[]): (number: Value) => Value {
  const { image, inspection } = model;
  const reaches = sigmas.map((sigma) => Math.floor(REACH * sigma + 0.5));
  const factors = sigmas.map((sigma) => (sigma > 0 ? -1 / (2 * sigma ** 2) : SHARP));
  const scales = factors.map((factor, i) => {
    let total = 1;
    for (let distance = 1; distance <= reaches[i]!; distance++) total += 2 * Math.exp(factor * distance ** 2);
    return 1 / total;
  });
  const table = (values: readonly number[]): Value =>
    constant(image, Float32Array.from(values), { sigma: sigmas.length });
  const tables = {
    factor: table(factors),
    scale: table(scales),
    reach: table(reaches.map((reach) => reach ** 2)),
  };
  /** Squared distances of the places of an axis. */
  const distances = (axis: 'height' | 'width'): Value => {
    const length = inspection[axis];
    const squares = Float32Array.from({ length: length ** 2 }, (_, i) => (Math.floor(i / length) - (i % length)) ** 2);
    return constant(image, squares, { [axis]: length, from: length });
  };
  const [down, across] = [distances('height'), distances('width')];
  return (number) => {
    const [factor, scale, reach] = [
      take(tables.factor, number),
      take(tables.scale, number),
      take(tables.reach, number),
    ];
    const weights = (squares: Value): Value => exp(squares.mul(factor)).mul(lessEqual(squares, reach)).mul(scale);
    const rows = contract(weights(down), rename(image, 'height', 'from'), 'from');
    return contract(rename(rows, 'width', 'from'), weights(across), 'from');
  };
}
