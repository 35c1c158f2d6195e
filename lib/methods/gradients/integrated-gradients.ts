import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { abs, accumulate, clamp, constant, grad, sum, take } from '../../symbolic/index.js';
import { hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { baselineOf, baselineSchema } from './baseline.js';
import { channelsSchema, overChannels } from './channels.js';
import { count } from './numbers.js';
import { withPresets } from './presets.js';
import { leastPoints, mostPoints, quadrature, QUADRATURES, type QuadratureRule } from './quadrature.js';

/** Below this a score counts as unchanged, and the relative error is that of this difference. */
const SMALLEST_CHANGE = 1e-6;
/** Within float32. */
const LARGEST = 3e38;

type Peer = 'captum' | 'xplique' | 'pair' | null;

/** captum and PAIR give their points weights that do not sum to 1, and not to the integral of a constant. */
function weighted(rule: QuadratureRule, steps: number, isTrapezoid: boolean, compat: Peer): readonly number[] {
  if (compat === 'captum' && isTrapezoid) return rule.weights.map((weight) => (weight * (steps - 1)) / steps);
  if (compat === 'pair' && isTrapezoid) return rule.weights.map(() => 1 / steps);
  return rule.weights;
}

/**
 * Integrated gradients: the gradient averaged along the straight line from a baseline to the image, times the difference
 * of both. The attributions sum to what the score gains from baseline to image (completeness); by how much they miss
 * it is told by the figures `completenessError` and `relativeCompletenessError`.
 *
 * Sundararajan, Taly & Yan, Axiomatic Attribution for Deep Networks, ICML 2017.
 */
export const integratedGradients = defineMethod({
  name: 'integrated-gradients',
  options: withPresets(
    {
      /** Points on the line at which the gradient is taken. */
      steps: count(1),
      /** How the points lie and are weighted. */
      quadrature: z.enum(QUADRATURES, { error: `one of ${QUADRATURES.join(', ')} is expected` }),
      /** Where the line begins: `zero` (the model's mean colour), `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per colour channel, after normalisation. */
      baseline: baselineSchema,
      /** False leaves out the difference: where along the line the model is sensitive, without completeness. */
      multiplyByInputs: z.boolean({ error: 'true or false is expected' }),
      /** How the colour channels become one number. The sum keeps the attributions' total. */
      channels: channelsSchema,
    },
    { steps: 50, quadrature: 'gauss-legendre', baseline: 'zero', multiplyByInputs: true, channels: 'sum' },
    {
      captum: {},
      xplique: { quadrature: 'trapezoid', channels: 'mean' },
      pair: { steps: 25, quadrature: 'trapezoid' },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: hasGradients,
  map: ({ model, options }) => {
    const { steps, compat, multiplyByInputs, channels } = options;
    if (steps < leastPoints(options.quadrature)) {
      throw new SightlineError('INVALID_OPTION', `The quadrature '${options.quadrature}' of integrated-gradients needs at least ${leastPoints(options.quadrature)} steps, not ${steps}.`);
    }
    if (steps > mostPoints(options.quadrature)) {
      throw new SightlineError('INVALID_OPTION', `The quadrature '${options.quadrature}' of integrated-gradients takes at most ${mostPoints(options.quadrature)} steps, not ${steps}; choose fewer, or another quadrature.`);
    }
    const { image } = model;
    const rule = quadrature(options.quadrature, steps);
    const points = constant(image, Float32Array.from(rule.points), { point: steps });
    const weights = constant(image, Float32Array.from(weighted(rule, steps, options.quadrature === 'trapezoid', compat)), { point: steps });
    const baseline = baselineOf(model, options.baseline);
    const way = baseline === null ? image : image.sub(baseline);
    const gradients = accumulate(way, steps, (sample) => {
      const travelled = way.mul(take(points, sample));
      const run = model.run(baseline === null ? travelled : travelled.add(baseline));
      return grad(run.score, run.image).mul(take(weights, sample));
    });
    if (!multiplyByInputs) return overChannels(gradients, channels);

    const attributions = gradients.mul(way);
    const gain = model.output.score.sub(model.run(baseline ?? image.mul(0)).score);
    const error = sum(attributions, ['channels', 'height', 'width']).sub(gain);
    return {
      map: overChannels(attributions, channels),
      figures: { completenessError: error, relativeCompletenessError: abs(error).div(clamp(abs(gain), SMALLEST_CHANGE, LARGEST)) },
    };
  },
});
