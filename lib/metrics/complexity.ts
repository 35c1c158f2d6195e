import { SPACE } from '../methods/axes.js';
import { notNegative } from '../methods/fields.js';
import { withPresets } from '../methods/presets.js';
import { abs, greater, highest, log, ranks, sub, sum, where, type Value } from '../symbolic/index.js';
import { pixelsOf } from './curve.js';
import { divideOrNaN } from './division.js';
import { defineMetric } from './metric.js';

const noOptions = withPresets({}, {});

const known = { family: 'complexity', needsMask: false, readsScore: false } as const;

/** Each pixel's share of the map's absolute values: [batch, height, width]. */
function shares(map: Value): Value {
  const sizes = abs(map);
  return divideOrNaN(sizes, sum(sizes, SPACE));
}

/**
 * Sparseness: the Gini index of the map's absolute values. 0 where all are equal, towards 1 where one has all; higher
 * is better.
 *
 * Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training, ICML 2020.
 */
export const sparseness = defineMetric({
  ...known,
  name: 'sparseness',
  better: 'higher',
  options: noOptions,
  measure: ({ model, map }) => {
    const pixels = pixelsOf(model);
    // With i from the smallest, 1 to n: the sum of (2 i - n - 1) x_i / n, where i is n less the rank from the largest.
    const weights = sub(pixels - 1, ranks(abs(map)).mul(2)).div(pixels);
    return sum(shares(map).mul(weights), SPACE);
  },
});

/**
 * Complexity: the entropy of the pixels' shares of the map's absolute values, in nats. 0 where one pixel has all, ln
 * (pixels) where all are equal; lower is better.
 *
 * Bhatt, Weller & Moura, Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020.
 */
export const complexity = defineMetric({
  ...known,
  name: 'complexity',
  better: 'lower',
  options: noOptions,
  measure: ({ map }) => {
    const share = shares(map);
    // A share of 0 adds nothing, and the logarithm of 0 is kept out.
    return sum(share.mul(log(where(greater(share, 0), share, 1))), SPACE).mul(-1);
  },
});

/**
 * Effective complexity: how many pixels have an absolute value above `threshold` of the map's largest. Lower is better.
 *
 * Nguyen & Martinez, On Quantitative Aspects of Model Interpretability, 2020, whose threshold is of the map's own unit.
 */
export const effectiveComplexity = defineMetric({
  ...known,
  name: 'effective-complexity',
  better: 'lower',
  options: withPresets(
    {
      /** As a share of the map's largest absolute value: at least 0. */
      threshold: notNegative,
    },
    { threshold: 1e-5 },
  ),
  measure: ({ map, options }) => {
    const sizes = abs(map);
    return sum(greater(sizes, highest(sizes).mul(options.threshold)), SPACE);
  },
});
