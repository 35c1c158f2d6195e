import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import {
  expandLike,
  felzenszwalb,
  fullLike,
  highest,
  lowest,
  rankRegions,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import * as pair from '../compat/pair.js';
import { all, gradientReachesImage, hasGradients } from '../conditions.js';
import { count, oneOf } from '../fields.js';
import { defineMethod, type MapOf } from '../method.js';
import { withPresets } from '../presets.js';
import { baselineOf, baselineSchema, type Baseline } from './baseline.js';
import { channelsSchema, overChannels, type Channels } from './channels.js';
import { completeness } from './completeness.js';
import { mostPoints, quadrature, type QuadratureRule } from './quadrature.js';
import { colorsOf, comparedColors, normalized, SMOOTHING } from './segmentation.js';
import { gradientAlong, straightLine } from './straight-line.js';

const SCALES = 'a list of 1 to 16 numbers above 0 is expected';
const AREA = 'a number above 0 and at most 1 is expected';
const BASELINES =
  "'range', or a list of 'zero', 'black', 'white', 'blur', { blur: pixels above 0 }, a number or one for each channel, is expected";

interface Settings {
  readonly steps: number;
  readonly baselines: 'range' | readonly Baseline[];
  readonly scales: readonly number[];
  readonly smallest: number;
  readonly dilation: number;
  readonly leastAdded: number;
  readonly areaThreshold: number;
  readonly algorithm: 'full' | 'fast';
  readonly channels: Channels;
}

/** The images that the lines begin at; null for zeros. */
function baselinesOf(model: SymbolicModel, baselines: Settings['baselines']): (Value | null)[] {
  if (baselines !== 'range') return baselines.map((each) => baselineOf(model, each));
  const colors = colorsOf(model);
  return [lowest(colors), highest(colors)].map((color) => expandLike(normalized(model, color), model.image));
}

/** Integrated gradients, averaged over the baselines, and then ranked region by region. */
const mapBy =
  (ruleOf: (steps: number) => QuadratureRule): MapOf<Settings> =>
  ({ model, options }) => {
    if (options.algorithm === 'fast' && options.areaThreshold < 1) {
      throw new SightlineError(
        'INVALID_OPTION',
        "The fast algorithm of xrai ranks all regions, so areaThreshold would do nothing; leave it out, or choose algorithm: 'full'.",
      );
    }
    const { points, weights } = ruleOf(options.steps);
    const baselines = baselinesOf(model, options.baselines);
    const mean = (values: readonly Value[]): Value => values.reduce((sum, each) => sum.add(each)).div(values.length);
    const attributions = mean(
      baselines.map((baseline) => {
        const line = straightLine(model, baseline);
        return gradientAlong(line, points, weights).mul(line.way);
      }),
    );
    const start = mean(baselines.map((baseline) => model.run(baseline ?? fullLike(model.image, 0)).score));
    const { labels } = felzenszwalb(comparedColors(model), {
      scales: options.scales,
      sigma: SMOOTHING,
      smallest: options.smallest,
    });
    return {
      map: rankRegions(overChannels(attributions, options.channels), labels, {
        dilation: options.dilation,
        leastAdded: options.leastAdded,
        area: options.areaThreshold,
        isFast: options.algorithm === 'fast',
      }),
      figures: completeness(attributions, model.output.score.sub(start)),
    };
  };

const mapAsPair: MapOf<Settings> = (input) => {
  pair.checkXraiSize(input.model);
  return mapBy(pair.trapezoid)(input);
};

/**
 * XRAI: integrated gradients from a black and from a white image, summed up by regions. The image is cut into segments
 * of one color at several scales; each is widened by a few pixels. Of all these regions the one that is attributed to
 * most densely comes first, then always the one of which the rest is. The map is that density: of each region, where no
 * earlier one lies. By how much the integrated gradients miss what the score gains is shown by the figures
 * `completenessError` and `relativeCompletenessError`.
 *
 * Kapishnikov et al., XRAI: Better Attributions Through Regions, ICCV 2019.
 */
export const xrai = defineMethod({
  name: 'xrai',
  options: withPresets(
    {
      /** Points on the line from each baseline at which the gradient is taken. */
      steps: count(1, mostPoints('gauss-legendre')),
      /**
       * Where the lines begin, the attributions being averaged: a list of `black`, `white`, `zero` (the model's mean
       * color), `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization; or `range`: each
       * image's own lowest and highest value.
       */
      baselines: z.union([z.literal('range'), z.array(baselineSchema).min(1, { error: BASELINES })], {
        error: BASELINES,
      }),
      /** Scales of the segmentation, by Felzenszwalb and Huttenlocher: the larger, the larger the segments. */
      scales: z
        .array(z.number({ error: SCALES }).positive({ error: SCALES }), { error: SCALES })
        .min(1, { error: SCALES })
        .max(16, { error: SCALES }),
      /** Segments of fewer pixels are joined to a neighbor. */
      smallest: count(1),
      /** By how many pixels each segment is widened, so that it covers the edges of what it shows. */
      dilation: count(0, 64),
      /** A region that adds fewer pixels to those before it is left out. */
      leastAdded: count(1),
      /** The share of the image after which regions are no longer ranked; what is left gets its mean. */
      areaThreshold: z.number({ error: AREA }).gt(0, { error: AREA }).max(1, { error: AREA }),
      /** `fast`: regions in the order of their own densities, wherever earlier ones lie. */
      algorithm: oneOf('full', 'fast'),
      /** How the color channels' attributions become one number. */
      channels: channelsSchema,
    },
    {
      steps: 50,
      baselines: ['black', 'white'],
      scales: [50, 100, 150, 250, 500, 1200],
      smallest: 150,
      dilation: 5,
      leastAdded: 50,
      areaThreshold: 1,
      algorithm: 'full',
      channels: 'max',
    },
    { packages: { pair: { steps: 100, baselines: 'range' } } },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, gradientReachesImage),
  map: mapBy((steps) => quadrature('gauss-legendre', steps)),
  compat: {
    pair: mapAsPair,
  },
});
