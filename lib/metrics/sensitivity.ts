import { SPACE } from '../methods/axes.js';
import { z } from 'zod';

import { count, seed } from '../methods/fields.js';
import { withPresets } from '../methods/presets.js';
import { max, mean, noise, sqrt, square, stack, sum, type Value } from '../symbolic/index.js';
import { divideOrNaN } from './division.js';
import { defineMetric, type MetricInput } from './metric.js';

interface Settings {
  readonly samples: number;
  readonly radius: number;
  readonly seed: number;
}

const RADIUS = { error: 'a number above 0 is expected' };
const options = withPresets(
  {
    /** Perturbed images, and explanations of them. */
    samples: count(1, 100),
    /** The most by which a value of the image changes, after normalization. */
    radius: z.number(RADIUS).gt(0, RADIUS),
    /** Of the changes: the same seed gives the same figure. */
    seed,
  },
  { samples: 10, radius: 0.02, seed: 0 },
);

const length = (value: Value, axes: readonly string[]): Value => sqrt(sum(square(value), axes));

/** Of each perturbed image how far it and its map lie from the image and the map: [batch, sample] each. */
function distances({ model, map, mapOf, options: { samples, radius, seed } }: MetricInput<Settings>): {
  readonly ofMaps: Value;
  readonly ofImages: Value;
} {
  const pairs = Array.from({ length: samples }, (_, sample) => {
    const change = noise(model.image, sample, seed, 'uniform').mul(2).sub(1).mul(radius);
    return {
      ofMap: length(mapOf(model.image.add(change)).sub(map), SPACE),
      ofImage: length(change, ['channels', ...SPACE]),
    };
  });
  return {
    ofMaps: stack(
      pairs.map(({ ofMap }) => ofMap),
      'sample',
    ),
    ofImages: stack(
      pairs.map(({ ofImage }) => ofImage),
      'sample',
    ),
  };
}

/**
 * Max-sensitivity: the most by which the map changes, as a share of its length, where each value of the image changes
 * by at most `radius`. At least 0, lower is better. A map of zeros has none: NaN.
 *
 * Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019.
 */
export const maxSensitivity = defineMetric({
  name: 'max-sensitivity',
  family: 'robustness',
  better: 'lower',
  needsMask: false,
  readsScore: false,
  options,
  measure: (input) => divideOrNaN(max(distances(input).ofMaps, 'sample'), length(input.map, SPACE)),
});

/** Average sensitivity: the same, as the mean over the perturbed images. Lower is better. Yeh et al., NeurIPS 2019. */
export const averageSensitivity = defineMetric({
  name: 'average-sensitivity',
  family: 'robustness',
  better: 'lower',
  needsMask: false,
  readsScore: false,
  options,
  measure: (input) => divideOrNaN(mean(distances(input).ofMaps, 'sample'), length(input.map, SPACE)),
});

/**
 * Local Lipschitz estimate: the most by which the map changes for each unit by which the image does. At least 0, lower
 * is better; it depends on the map's unit.
 *
 * Alvarez-Melis & Jaakkola, On the Robustness of Interpretability Methods, 2018.
 */
export const localLipschitz = defineMetric({
  name: 'local-lipschitz',
  family: 'robustness',
  better: 'lower',
  needsMask: false,
  readsScore: false,
  options,
  measure: (input) => {
    const { ofMaps, ofImages } = distances(input);
    return max(ofMaps.div(ofImages), 'sample');
  },
});
