import { z } from 'zod';

import {
  accumulate,
  fullLike,
  grad,
  lowest,
  type Sample,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { SightlineError } from '../../support/errors.js';
import * as pair from '../compat/pair.js';
import { all, gradientReachesImage, hasGradients } from '../conditions.js';
import { count, oneOf } from '../fields.js';
import { defineMethod, type MapOf } from '../method.js';
import { withPresets } from '../presets.js';
import { channelsSchema, overChannels, type Channels } from './channels.js';
import { completeness } from './completeness.js';
import { sharedByGradient } from './idgi.js';
import { scaleSpace, type BlurSettings, type BlurStep } from './scale-space.js';

/** As wide as the largest image: all of it becomes one color. */
const WIDEST = 16_384;
const SIGMA = `a number of pixels above 0, at most ${WIDEST}, is expected`;

interface Settings extends BlurSettings {
  readonly quadrature: 'middle' | 'idgi';
  readonly channels: Channels;
  readonly compat?: 'pair' | undefined;
}

/** The ends of the steps: close together where the blur is slight, since most detail goes first. */
const sigmaAfter = (share: number, maxSigma: number): number => maxSigma * share ** 2;

/** The gradient in the middle of each step, and the whole change from its end to its beginning. */
function middleSteps(model: SymbolicModel, { steps, maxSigma }: BlurSettings): (sample: Sample) => BlurStep {
  const blurred = scaleSpace(
    model,
    Array.from({ length: 2 * steps + 1 }, (_, i) => sigmaAfter(i / (2 * steps), maxSigma)),
  );
  return (sample) => {
    const end = sample.mul(2);
    return { at: blurred(end.add(1)), change: blurred(end).sub(blurred(end.add(2))) };
  };
}

/** The gradients times the changes, over all steps. */
const overSteps =
  (stepsOf: typeof middleSteps) =>
  (model: SymbolicModel, settings: BlurSettings): Value => {
    const stepOf = stepsOf(model, settings);
    return accumulate(model.image, settings.steps, (sample) => {
      const { at, change } = stepOf(sample);
      const run = model.run(at);
      return grad(run.score, run.image).mul(change);
    });
  };

/** What the score gains in each step, shared out by the gradient where the step begins. */
function gradientShares(model: SymbolicModel, { steps, maxSigma }: BlurSettings): Value {
  const blurred = scaleSpace(
    model,
    Array.from({ length: steps + 1 }, (_, i) => sigmaAfter(i / steps, maxSigma)),
  );
  return accumulate(model.image, steps, (sample) => {
    const run = model.run(blurred(sample.add(1)));
    const gain = model.run(blurred(sample)).score.sub(run.score);
    return sharedByGradient(gain, grad(run.score, run.image));
  });
}

const integrate =
  (byMiddles: (model: SymbolicModel, settings: BlurSettings) => Value): MapOf<Settings> =>
  ({ model, options }) => {
    if (options.quadrature === 'idgi' && options.compat !== undefined) {
      throw new SightlineError(
        'INVALID_OPTION',
        `blur-ig as ${options.compat} has it knows no quadrature 'idgi'; leave out \`quadrature\` or \`compat\`.`,
      );
    }
    const attributions = (options.quadrature === 'idgi' ? gradientShares : byMiddles)(model, options);
    const start = scaleSpace(model, [options.maxSigma])(fullLike(lowest(model.image), 0));
    const gain = model.output.score.sub(model.run(start).score);
    return { map: overChannels(attributions, options.channels), figures: completeness(attributions, gain) };
  };

/**
 * Blur integrated gradients: the gradient integrated along the path on which the blurred image becomes sharp, times
 * what each pixel changes on the way. No color stands for "nothing to see". The attributions sum to what the score
 * gains from the blurred image to the image; by how much they miss it is shown by the figures `completenessError` and
 * `relativeCompletenessError`.
 *
 * Xu, Venugopalan & Sundararajan, Attribution in Scale and Space, CVPR 2020.
 */
export const blurIg = defineMethod({
  name: 'blur-ig',
  options: withPresets(
    {
      /** Steps of the path, at each of which the gradient is taken. */
      steps: count(1),
      /** Standard deviation of the Gaussian at the path's beginning, in pixels. */
      maxSigma: z.number({ error: SIGMA }).positive({ error: SIGMA }).max(WIDEST, { error: SIGMA }),
      /**
       * How a step's attributions are found: `middle`, by the gradient in its middle; `idgi`, by sharing out what the
       * score gains in it by the squared gradient at its beginning.
       */
      quadrature: oneOf('middle', 'idgi'),
      /** How the color channels become one number. The sum keeps the attributions' total. */
      channels: channelsSchema,
    },
    { steps: 100, maxSigma: 50, quadrature: 'middle', channels: 'sum' },
    { packages: { pair: {} } },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, gradientReachesImage),
  map: integrate(overSteps(middleSteps)),
  compat: { pair: integrate(overSteps(pair.blurSteps)) },
});
