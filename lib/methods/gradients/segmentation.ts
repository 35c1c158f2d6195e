import { constant, scaleToUnit, type SymbolicModel, type Value } from '../../symbolic/index.js';

/** Standard deviation, in pixels, of the Gaussian that an image is smoothed by before it is cut into segments. */
export const SMOOTHING = 0.8;

/**
 * The images as their colors were before the model's normalization, each brought to [-1, 1] by its own lowest and
 * highest value: what a segmentation compares pixels by.
 */
export function comparedColors(model: SymbolicModel): Value {
  return scaleToUnit(colorsOf(model)).mul(2).sub(1);
}

/** The images' colors before the model's normalization: [batch, channels, height, width]. */
export function colorsOf(model: SymbolicModel): Value {
  const { mean, std } = model.normalization;
  return model.image.mul(perChannel(model, std)).add(perChannel(model, mean));
}

/** What the model gets in place of colors. */
export function normalized(model: SymbolicModel, colors: Value): Value {
  const { mean, std } = model.normalization;
  return colors.sub(perChannel(model, mean)).div(perChannel(model, std));
}

const perChannel = ({ image }: SymbolicModel, values: readonly number[]): Value =>
  constant(image, Float32Array.from(values), { channels: values.length });
