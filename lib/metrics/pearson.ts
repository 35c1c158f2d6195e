import { mean, mul, sqrt, square, sum, type Axis, type Value } from '../symbolic/index.js';
import { divideOrNaN } from './division.js';

/** Pearson's correlation of two values along an axis: [batch]. NaN where one of them does not vary. */
export function pearson(a: Value, b: Value, axis: Axis): Value {
  const [fromMeanA, fromMeanB] = [a.sub(mean(a, axis)), b.sub(mean(b, axis))];
  const spread = sqrt(mul(sum(square(fromMeanA), axis), sum(square(fromMeanB), axis)));
  return divideOrNaN(sum(fromMeanA.mul(fromMeanB), axis), spread);
}
