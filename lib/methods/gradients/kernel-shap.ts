import { SightlineError } from '../../support/errors.js';
import {
  additiveModel,
  coalitions,
  concatenate,
  exp,
  floor,
  fullLike,
  minimum,
  maximum,
  paint,
  type Sample,
  type Value,
} from '../../symbolic/index.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { baselineOf, masked } from './baseline.js';
import { countOf, SEGMENT_DEFAULTS, segmentFields, segmentsOf } from './segments.js';

/** More segments have more ways to be shown than there can be samples. */
const MOST_ENUMERATED = 30;

/**
 * How many ways there are to show some of `count` segments, but not all: of so many samples the engine takes each way
 * once.
 */
function ways(count: number, samples: number): number {
  const all = 2 ** Math.min(count, MOST_ENUMERATED) - 2;
  if (all <= samples) return Math.max(all, 1);
  if (count > samples) {
    throw new SightlineError(
      'INVALID_OPTION',
      `kernel-shap cannot tell ${count} patches apart by ${samples} samples; ask for at least ${count}, or for a coarser grid.`,
    );
  }
  return samples;
}

/** The same of each image, [batch]. */
const waysOf = (count: Value, samples: number): Value =>
  // 2 to the power of the count, which float32 rounds to the whole number as far as it is the smaller.
  maximum(minimum(floor(exp(count.mul(Math.LN2)).add(0.5)).sub(2), samples), 1);

/**
 * Kernel SHAP: the Shapley value of each segment of the image. That is what the score gains by showing it beside
 * others, on average over all orders of showing them. It is estimated by least squares from images of which some
 * segments are hidden. It is exact where all ways to hide them are tried, which happens where `samples` suffice. The
 * segments' values sum to what the score gains from the baseline to the image. The figure `fit` is the share of the
 * scores' variance that such a sum explains, `segments` the number of them. Needs no gradients.
 *
 * Lundberg & Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017.
 */
export const kernelShap = defineMethod({
  name: 'kernel-shap',
  options: withPresets(segmentFields, SEGMENT_DEFAULTS),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: () => null,
  map: ({ model, options }) => {
    const segments = segmentsOf(model, 'kernel-shap', options);
    const { labels, count } = segments;
    const { samples, seed } = options;
    const baseline = baselineOf(model, options.baseline);
    const drawn = { sampling: 'kernel', samples, seed } as const;
    const shownBy = (sample: Sample) => {
      const { shown, weights } = coalitions(sample, count, drawn);
      return { scores: model.run(masked(model.image, paint(shown, labels), baseline)).score, weights };
    };
    const { scores, weights } =
      typeof count === 'number'
        ? concatenate(model.image, ways(count, samples), shownBy)
        : concatenate(model.image, samples, shownBy, { limit: waysOf(count, samples) });
    const ends = { whole: model.output.score, nothing: model.run(baseline ?? fullLike(model.image, 0)).score };
    const { values, fit } = additiveModel(scores, weights, count, { coalitions: drawn, regression: 'shapley', ends });
    return { map: paint(values, labels), figures: { segments: countOf(model, segments), fit } };
  },
});
