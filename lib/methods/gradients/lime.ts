import { z } from 'zod';

import {
  additiveModel,
  coalitions,
  concatenate,
  exp,
  maximum,
  paint,
  sqrt,
  square,
  sub,
  sum,
  type CoalitionDraws,
  type Value,
} from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { oneOf } from '../fields.js';
import { defineMethod, type MapOf } from '../method.js';
import { withPresets } from '../presets.js';
import { baselineOf, masked } from './baseline.js';
import { countOf, SEGMENT_DEFAULTS, segmentFields, segmentsOf, type SegmentSettings } from './segments.js';

const PENALTY = "'ridge', 'lasso', { ridge: at least 0 } or { lasso: above 0 } is expected";
const WIDTH = 'a number above 0 is expected';
/** A length below it counts as this. */
const SHORTEST = 1e-8;

const penaltySchema = z.union(
  [
    z.enum(['ridge', 'lasso']),
    z.strictObject({ ridge: z.number({ error: PENALTY }).min(0, { error: PENALTY }) }),
    z.strictObject({ lasso: z.number({ error: PENALTY }).positive({ error: PENALTY }) }),
  ],
  { error: PENALTY },
);

interface Settings extends SegmentSettings {
  readonly penalty: z.output<typeof penaltySchema>;
  readonly distance: 'segments' | 'image';
  readonly kernelWidth: number;
}

function regressionOf(penalty: Settings['penalty']): { regression: 'ridge' | 'lasso'; alpha: number } {
  if (penalty === 'ridge') return { regression: 'ridge', alpha: 1 };
  if (penalty === 'lasso') return { regression: 'lasso', alpha: 0.01 };
  return 'ridge' in penalty
    ? { regression: 'ridge', alpha: penalty.ridge }
    : { regression: 'lasso', alpha: penalty.lasso };
}

/** 1 less the cosine of the angle between images: [batch]. */
function angularDistance(a: Value, b: Value): Value {
  const product = (x: Value, y: Value): Value => sum(x.mul(y), ['channels', ...SPACE]);
  const length = (x: Value): Value => maximum(sqrt(product(x, x)), SHORTEST);
  return sub(1, product(a, b).div(length(a).mul(length(b))));
}

const mapBy =
  (sampling: CoalitionDraws['sampling']): MapOf<Settings> =>
  ({ model, options }) => {
    const { image } = model;
    const { samples, seed, kernelWidth } = options;
    const segments = segmentsOf(model, 'lime', options);
    const { labels, count } = segments;
    const baseline = baselineOf(model, options.baseline);
    const drawn = { sampling, samples, seed };
    const { scores, weights } = concatenate(image, samples, (sample) => {
      const { shown } = coalitions(sample, count, drawn);
      const seen = masked(image, paint(shown, labels), baseline);
      const distance =
        options.distance === 'image'
          ? angularDistance(image, seen)
          : // Of the vector of what is shown to one of ones.
            sub(1, sqrt(sum(shown, 'segments').div(count)));
      return {
        scores: model.run(seen).score,
        weights: exp(square(distance).mul(-1 / (2 * kernelWidth ** 2))),
      };
    });
    const { values, fit } = additiveModel(scores, weights, count, {
      coalitions: drawn,
      ...regressionOf(options.penalty),
    });
    return { map: paint(values, labels), figures: { segments: countOf(model, segments), fit } };
  };

/**
 * LIME: what each segment of the image brings, by a linear model of the score near the image. The model is fitted to
 * images of which each segment is hidden by a coin; the fewer are hidden, the more a sample counts. The figure `fit` is
 * the share of the scores' variance that the linear model explains, `segments` the number of segments. Needs no
 * gradients.
 *
 * Ribeiro, Singh & Guestrin, "Why Should I Trust You?": Explaining the Predictions of Any Classifier, KDD 2016.
 */
export const lime = defineMethod({
  name: 'lime',
  options: withPresets(
    {
      ...segmentFields,
      /**
       * By which the linear model's values are held down: `ridge`, their squares, or `lasso`, their sizes. A lasso
       * leaves few segments. `{ ridge: 1 }` and `{ lasso: 0.01 }` say how strongly.
       */
      penalty: penaltySchema,
      /** How far a sample lies from the image: by the `segments` that it shows, or by the pixels of the `image`. */
      distance: oneOf('segments', 'image'),
      /** The distance, 1 less a cosine, at which a sample counts e to the power of -1/2. */
      kernelWidth: z.number({ error: WIDTH }).positive({ error: WIDTH }),
    },
    { ...SEGMENT_DEFAULTS, penalty: 'ridge', distance: 'segments', kernelWidth: 0.25 },
    { packages: { captum: { samples: 25, penalty: 'lasso', distance: 'image', kernelWidth: 1 } } },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: () => null,
  map: mapBy('half-and-whole'),
  compat: { captum: mapBy('half') },
});
