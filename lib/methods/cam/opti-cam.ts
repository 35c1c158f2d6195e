import { z } from 'zod';

import {
  constant,
  div,
  fullLike,
  grad,
  iterate,
  mean,
  mul,
  relu,
  select,
  softmax,
  sqrt,
  square,
  stack,
  sum,
  take,
  upsample,
  variable,
  type Value,
} from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { all, gradientReachesImage, hasGradients, hasTargetLayer } from '../conditions.js';
import { count } from '../fields.js';
import { baselineOf, baselineSchema, masked } from '../gradients/baseline.js';
import { defineMethod } from '../method.js';
import { unitMask } from './channel-masks.js';
import { activationsOf } from './target-layer.js';

/** Decay rates of Adam's two moments, and what is added to the root of the second (Kingma & Ba 2015). */
const BETAS = [0.9, 0.999] as const;
const EPSILON = 1e-8;
const RATE = 'a number above 0 is expected';

/** What depends on the number of a step, which is known beforehand: computed in double precision, [step]. */
const tableOf = (anchor: Value, steps: number, of: (step: number) => number): Value =>
  constant(
    anchor,
    Float32Array.from({ length: steps }, (_, i) => of(i + 1)),
    { step: steps },
  );

/**
 * Opti-CAM: a layer's channels, weighted so that the image seen through their map scores highest. The weights are a
 * softmax, equal at first, whose logits Adam changes for each image and class. Negative activations count as zero.
 *
 * Zhang, Torres, Sicre, Avrithis & Ayache, Opti-CAM: Optimizing saliency maps for interpretability, 2023.
 */
export const optiCam = defineMethod({
  name: 'opti-cam',
  options: z.strictObject({
    /** Steps of Adam; each runs the model forward and back. */
    steps: count(1).default(50),
    /** Adam's learning rate, above 0. */
    learningRate: z.number({ error: RATE }).positive({ error: RATE }).default(0.1),
    /**
     * The values where the image is masked: `zero` (the model's mean color), `black`, `white`, `blur` or
     * `{ blur: pixels }`, a number or one per color channel, after normalization.
     */
    baseline: baselineSchema.default('black'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer, gradientReachesImage),
  map: ({ model, layer, options }) => {
    const { image } = model;
    const { height, width } = model.inspection;
    const { steps, learningRate } = options;
    const activations = relu(activationsOf(model, layer));
    const baseline = baselineOf(model, options.baseline);
    const rates = tableOf(image, steps, (step) => learningRate / (1 - BETAS[0] ** step));
    const corrections = tableOf(image, steps, (step) => 1 / Math.sqrt(1 - BETAS[1] ** step));
    const mapBy = (logits: Value): Value => sum(activations.mul(softmax(logits, 'channels')), 'channels');

    const zeros = fullLike(mean(activations, SPACE), 0);
    // Logits, first and second moments: one value, since a loop carries one.
    const end = iterate(stack([zeros, zeros, zeros], 'slots'), steps, (state, step) => {
      const logits = variable(select(state, 'slots', 0));
      const mask = unitMask(upsample(mapBy(logits), height, width));
      const slope = grad(model.run(masked(image, mask, baseline)).score, logits);
      const first = mul(select(state, 'slots', 1), BETAS[0]).add(slope.mul(1 - BETAS[0]));
      const second = mul(select(state, 'slots', 2), BETAS[1]).add(square(slope).mul(1 - BETAS[1]));
      const size = sqrt(second).mul(take(corrections, step)).add(EPSILON);
      return stack([logits.add(div(first, size).mul(take(rates, step))), first, second], 'slots');
    });
    // By rounding alone Adam moves the weights of channels that are the same everywhere, and with them the map's scale.
    return unitMask(mapBy(select(end, 'slots', 0)));
  },
});
