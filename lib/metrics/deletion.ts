import { baselineOf } from '../methods/gradients/baseline.js';
import { withPresets } from '../methods/presets.js';
import { ranks } from '../symbolic/index.js';
import { area, countsOf, pixelsOf, scoresAlong } from './curve.js';
import { stepFields, type StepSettings } from './fields.js';
import { defineMetric, type MetricInput, type MetricResult } from './metric.js';

const measured =
  (turn: 'hide' | 'show') =>
  ({ model, map, options }: MetricInput<StepSettings>): MetricResult => {
    const pixels = pixelsOf(model);
    const counts = countsOf(options.steps, pixels);
    const shares = counts.map((had) => had / pixels);
    const baseline = baselineOf(model, options.baseline);
    const curve = scoresAlong(model, { order: ranks(map), counts, turn, baseline, score: options.score });
    return { value: area(curve, shares), curve, shares };
  };

/**
 * Deletion: the area under the class's probability while the pixels that the map marks most are replaced first. In [0,
 * 1], lower is better: a right map makes the probability fall at once.
 *
 * Petsiuk, Das & Saenko, RISE, BMVC 2018. The authors' steps, 224 for an image of 224 x 224, and their zeros after
 * normalization. `torch-cam` takes 20 steps.
 */
export const deletion = defineMetric({
  name: 'deletion',
  family: 'faithfulness',
  better: 'lower',
  needsMask: false,
  readsScore: true,
  options: withPresets(
    stepFields,
    { steps: 224, baseline: 'zero', score: 'probability' },
    { packages: { 'torch-cam': { steps: 20 } } },
  ),
  measure: measured('hide'),
});

/**
 * Insertion: the area under the class's probability while the pixels that the map marks most are shown first, on a
 * blurred image. In [0, 1], higher is better.
 *
 * Petsiuk, Das & Saenko, RISE, BMVC 2018; blurred by a Gaussian of 5 pixels. `torch-cam` takes 20 steps from zeros.
 */
export const insertion = defineMetric({
  name: 'insertion',
  family: 'faithfulness',
  better: 'higher',
  needsMask: false,
  readsScore: true,
  options: withPresets(
    stepFields,
    { steps: 224, baseline: { blur: 5 }, score: 'probability' },
    { packages: { 'torch-cam': { steps: 20, baseline: 'zero' } } },
  ),
  measure: measured('show'),
});

/**
 * Pixel flipping: the area under the class's logit while the pixels that the map marks most are blacked out first.
 * Lower is better; its unit is that of the score.
 *
 * Bach et al., On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation, PLoS
 * ONE 2015.
 */
export const pixelFlipping = defineMetric({
  name: 'pixel-flipping',
  family: 'faithfulness',
  better: 'lower',
  needsMask: false,
  readsScore: true,
  options: withPresets(stepFields, { steps: 100, baseline: 'black', score: 'logit' }),
  measure: measured('hide'),
});
