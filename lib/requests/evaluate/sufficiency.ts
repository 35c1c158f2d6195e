import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { parseOptions, reading } from '../../support/options.js';
import type { Explanation } from '../explain.js';

/** Options of `sufficiency`. */
export interface SufficiencyOptions {
  /**
   * The largest distance of maps that count as alike, in [0, 1]: the root of their mean square difference, each brought
   * to [0, 1]. Default 0.1.
   */
  readonly threshold?: number | undefined;
}

const error = 'a number from 0 to 1 is expected';
const schema = z.strictObject({ threshold: z.number({ error }).min(0, { error }).max(1, { error }).default(0.1) });

const explained = z.array(
  z.object({
    maps: z.array(z.object({ data: z.instanceof(Float32Array), shape: z.array(z.number()), state: z.string() })),
    predictions: z.array(z.object({ index: z.number() })),
  }),
);

/**
 * Sufficiency: of the other images with a map like an image's, the share that the model gives the same class. Where
 * maps say all that decides, it is 1. For each image a figure in [0, 1], higher is better. NaN where no other map is
 * alike, and where the image's own is flat or not finite.
 *
 * Dasgupta, Frost & Moshkovitz, Framework for Evaluating Faithfulness of Local Explanations, ICML 2022. Quantus
 * standardizes each pixel and compares with 0.6, which no two maps of a photo come near; and it gives 0 for none.
 *
 * @param explanations by one method, with one target: the first map of each counts, and the first prediction
 * @throws SightlineError INVALID_OPTION where maps have different shapes, or predictions were not asked for
 */
export function sufficiency(
  explanations: readonly Pick<Explanation, 'maps' | 'predictions'>[],
  options: SufficiencyOptions = {},
): number[] {
  const { threshold } = parseOptions(schema, options, 'sufficiency');
  if (!reading('The explanations given to sufficiency', () => explained.safeParse(explanations)).success) {
    throw new SightlineError(
      'INVALID_OPTION',
      'sufficiency takes a list of explanations, as explain by one method gives.',
    );
  }
  const shapes = new Set(explanations.map(({ maps: [map] }) => map?.shape.join(' x ') ?? 'none'));
  if (shapes.size > 1 || shapes.has('none')) {
    throw new SightlineError(
      'INVALID_OPTION',
      `sufficiency compares maps of one shape, and was given ${[...shapes].join(' and ')}; explain all images at one size.`,
    );
  }
  if (explanations.some(({ predictions }) => predictions.length === 0)) {
    throw new SightlineError(
      'INVALID_OPTION',
      'sufficiency compares predicted classes; explain with `top` of 1 or more.',
    );
  }
  const all = explanations.map(({ maps: [map], predictions: [best] }) => ({
    values: map!.state === 'ok' ? inUnit(map!.data) : null,
    predicted: best!.index,
  }));
  return all.map((own, i) => {
    const alike = all.filter(
      (other, j) => i !== j && own.values && other.values && distance(own.values, other.values) <= threshold,
    );
    return alike.filter(({ predicted }) => predicted === own.predicted).length / alike.length;
  });
}

/** Raw maps have their own unit. */
function inUnit(data: Float32Array): Float64Array {
  let [low, high] = [Infinity, -Infinity];
  for (const value of data) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return Float64Array.from(data, (value) => (value - low) / (high - low));
}

function distance(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return Math.sqrt(sum / a.length);
}
