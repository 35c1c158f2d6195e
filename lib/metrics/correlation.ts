import { SPACE } from '../methods/axes.js';
import { baselineOf, baselineSchema, masked } from '../methods/gradients/baseline.js';
import { count, seed } from '../methods/fields.js';
import { withPresets } from '../methods/presets.js';
import { concatenate, greater, greaterEqual, mean, narrow, noise, not, ranks, sub, sum } from '../symbolic/index.js';
import { countsOf, pixelsOf, scoresAlong } from './curve.js';
import { scoreIn, scoreOption, stepFields } from './fields.js';
import { defineMetric, type MetricResult } from './metric.js';
import { pearson } from './pearson.js';

/**
 * Faithfulness correlation: over random sets of pixels, Pearson's correlation of the map's sum with the fall of the
 * class's score when the set is replaced. In [-1, 1], higher is better.
 *
 * Bhatt, Weller & Moura, Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020.
 */
export const faithfulnessCorrelation = defineMetric({
  name: 'faithfulness-correlation',
  family: 'faithfulness',
  better: 'higher',
  needsMask: false,
  readsScore: true,
  options: withPresets(
    {
      /** Random sets, and runs of the model. */
      samples: count(2),
      /** Pixels in a set; all, where the image has fewer. */
      pixels: count(1),
      /** The values in the place of replaced pixels: as in `rise`, after normalization. */
      baseline: baselineSchema,
      /** The score of each run: `logit` of the class, `probability`, or `top1`. */
      score: scoreOption,
      /** Of the sets: the same seed gives the same figure. */
      seed,
    },
    { samples: 100, pixels: 224, baseline: 'black', score: 'logit', seed: 0 },
  ),
  measure: ({ model, map, options }) => {
    const { height, width } = model.inspection;
    const baseline = baselineOf(model, options.baseline);
    const whole = scoreIn(model, model.output, options.score);
    const { sums, falls } = concatenate(model.image, options.samples, (sample) => {
      const draws = noise({ height, width }, sample, options.seed, 'uniform');
      const chosen = greater(Math.min(options.pixels, height * width), ranks(draws));
      const run = model.run(masked(model.image, not(chosen), baseline));
      return { sums: sum(map.mul(chosen), SPACE), falls: whole.sub(scoreIn(model, run, options.score)) };
    });
    return pearson(sums, falls, 'sample');
  },
});

/**
 * Faithfulness estimate: the pixels, from the map's highest down, in equal groups; Pearson's correlation of each
 * group's sum with how far the class's score falls when just that group is replaced. In [-1, 1], higher is better.
 *
 * Alvarez-Melis & Jaakkola, Towards Robust Interpretability with Self-Explaining Neural Networks, NeurIPS 2018.
 */
export const faithfulnessEstimate = defineMetric({
  name: 'faithfulness-estimate',
  family: 'faithfulness',
  better: 'higher',
  needsMask: false,
  readsScore: true,
  options: withPresets(
    {
      /** Groups, and runs of the model. */
      groups: count(2),
      /** The values in the place of replaced pixels: as in `rise`, after normalization. */
      baseline: baselineSchema,
      /** The score of each run: `logit` of the class, `probability`, or `top1`. */
      score: scoreOption,
    },
    { groups: 196, baseline: 'black', score: 'logit' },
  ),
  measure: ({ model, map, options }) => {
    const pixels = pixelsOf(model);
    const size = Math.max(1, Math.ceil(pixels / options.groups));
    const baseline = baselineOf(model, options.baseline);
    const whole = scoreIn(model, model.output, options.score);
    const order = ranks(map);
    const { sums, falls } = concatenate(model.image, Math.ceil(pixels / size), (sample) => {
      const first = sample.mul(size);
      const chosen = greaterEqual(order, first).mul(greater(first.add(size), order));
      const run = model.run(masked(model.image, not(chosen), baseline));
      return { sums: sum(map.mul(chosen), SPACE), falls: whole.sub(scoreIn(model, run, options.score)) };
    });
    return pearson(sums, falls, 'sample');
  },
});

/**
 * Monotonicity: the share of steps at which the class's score does not fall while pixels are shown on the baseline,
 * from the map's lowest up. In [0, 1], higher is better; the paper asks whether it is 1.
 *
 * Arya et al., One Explanation Does Not Fit All, 2019.
 */
export const monotonicity = defineMetric({
  name: 'monotonicity',
  family: 'faithfulness',
  better: 'higher',
  needsMask: false,
  readsScore: true,
  options: withPresets(stepFields, { steps: 100, baseline: 'black', score: 'probability' }),
  measure: ({ model, map, options }): MetricResult => {
    const pixels = pixelsOf(model);
    const counts = countsOf(options.steps, pixels);
    const curve = scoresAlong(model, {
      order: sub(pixels - 1, ranks(map)),
      counts,
      turn: 'show',
      baseline: baselineOf(model, options.baseline),
      score: options.score,
    });
    const before = narrow(curve, 'sample', 0, counts.length - 1);
    const after = narrow(curve, 'sample', 1, counts.length - 1);
    return { value: mean(greaterEqual(after, before), 'sample'), curve, shares: counts.map((had) => 1 - had / pixels) };
  },
});
