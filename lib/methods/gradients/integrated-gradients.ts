import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { accumulate, fullLike, grad, type Value } from '../../symbolic/index.js';
import * as captum from '../compat/captum.js';
import * as pair from '../compat/pair.js';
import { all, gradientReachesImage, hasGradients } from '../conditions.js';
import { count, flag } from '../fields.js';
import { defineMethod, type MapOf } from '../method.js';
import { withPresets } from '../presets.js';
import { baselineOf, baselineSchema, type Baseline } from './baseline.js';
import { channelsSchema, overChannels, type Channels } from './channels.js';
import { completeness } from './completeness.js';
import { sharedByGradient } from './idgi.js';
import {
  leastPoints,
  mostPoints,
  quadrature,
  QUADRATURES,
  type Quadrature,
  type QuadratureRule,
  type WeightsOf,
} from './quadrature.js';
import { gradientAlong, straightLine } from './straight-line.js';

interface Settings {
  readonly steps: number;
  readonly quadrature: Quadrature | 'idgi';
  readonly baseline: Baseline;
  readonly multiplyByInputs: boolean;
  readonly channels: Channels;
}

/** @throws SightlineError INVALID_OPTION for too few or too many points */
function checkedRule(name: Quadrature, steps: number): QuadratureRule {
  if (steps < leastPoints(name)) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The quadrature '${name}' of integrated-gradients needs at least ${leastPoints(name)} steps, not ${steps}.`,
    );
  }
  if (steps > mostPoints(name)) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The quadrature '${name}' of integrated-gradients takes at most ${mostPoints(name)} steps, not ${steps}; choose fewer, or another quadrature.`,
    );
  }
  return quadrature(name, steps);
}

/**
 * (x - b) times the gradient at b + t (x - b), integrated over t from 0 to 1; `weightsOf` are those of the points t.
 */
const integrate =
  (weightsOf: WeightsOf): MapOf<Settings> =>
  ({ model, options }) => {
    const { steps, quadrature, channels } = options;
    const baseline = baselineOf(model, options.baseline);
    const line = straightLine(model, baseline);
    const { way, runAt } = line;
    let attributions: Value;
    if (quadrature === 'idgi') {
      if (!options.multiplyByInputs) {
        throw new SightlineError(
          'INVALID_OPTION',
          "The quadrature 'idgi' of integrated-gradients multiplies by no difference of inputs, so multiplyByInputs: false would do nothing; leave it out.",
        );
      }
      attributions = accumulate(way, steps, (sample) => {
        const run = runAt(sample.div(steps));
        const gain = runAt(sample.add(1).div(steps)).score.sub(run.score);
        return sharedByGradient(gain, grad(run.score, run.image));
      });
    } else {
      const rule = checkedRule(quadrature, steps);
      const gradients = gradientAlong(line, rule.points, weightsOf(rule, quadrature));
      if (!options.multiplyByInputs) return overChannels(gradients, channels);
      attributions = gradients.mul(way);
    }
    const gain = model.output.score.sub(model.run(baseline ?? fullLike(model.image, 0)).score);
    return { map: overChannels(attributions, channels), figures: completeness(attributions, gain) };
  };

/**
 * Integrated gradients: the gradient averaged along the straight line from a baseline to the image, times the
 * difference of both. The attributions sum to what the score gains from baseline to image (completeness); by how much
 * they miss it is shown by the figures `completenessError` and `relativeCompletenessError`.
 *
 * Sundararajan, Taly & Yan, Axiomatic Attribution for Deep Networks, ICML 2017.
 */
export const integratedGradients = defineMethod({
  name: 'integrated-gradients',
  options: withPresets(
    {
      /** Points on the line at which the gradient is taken. */
      steps: count(1),
      /**
       * How the points lie and are weighted. `idgi` (Yang, Wang & Bilgic, CVPR 2023): equal steps, and what the score
       * gains in each is shared out by the squared gradient at its beginning.
       */
      quadrature: z.enum([...QUADRATURES, 'idgi'], { error: `one of ${QUADRATURES.join(', ')}, idgi is expected` }),
      /**
       * Where the line begins: `zero` (the model's mean color), `black`, `white`, `blur` or `{ blur: pixels }`, a
       * number or one per color channel, after normalization.
       */
      baseline: baselineSchema,
      /** False leaves out the difference: where along the line the model is sensitive, without completeness. */
      multiplyByInputs: flag,
      /** How the color channels become one number. The sum keeps the attributions' total. */
      channels: channelsSchema,
    },
    { steps: 50, quadrature: 'gauss-legendre', baseline: 'zero', multiplyByInputs: true, channels: 'sum' },
    {
      packages: {
        captum: {},
        xplique: { quadrature: 'trapezoid', channels: 'mean' },
        pair: { steps: 25, quadrature: 'trapezoid' },
      },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, gradientReachesImage),
  map: integrate(({ weights }) => weights),
  compat: { captum: integrate(captum.weights), pair: integrate(pair.weights) },
});
