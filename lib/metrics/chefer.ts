import { baselineOf, baselineSchema, type Baseline } from '../methods/gradients/baseline.js';
import { withPresets } from '../methods/presets.js';
import { ranks, sub, type Value } from '../symbolic/index.js';
import { area, pixelsOf, scoresAlong } from './curve.js';
import { scoreOption, type ScoreKind } from './fields.js';
import { defineMetric, type MetricInput, type MetricResult } from './metric.js';

interface Settings {
  readonly baseline: Baseline;
  readonly score: ScoreKind;
}

/** Shares of the pixels that are replaced, with the whole image as the first. */
const SHARES = Array.from({ length: 10 }, (_, i) => i / 10);

const fields = {
  /** The values in the place of replaced pixels: as in `rise`, after normalization. */
  baseline: baselineSchema,
  /** The score of each run: `top1` (whether the class is still predicted), `probability` or `logit`. */
  score: scoreOption,
};

const measured =
  (orderOf: (map: Value, pixels: number) => Value) =>
  ({ model, map, options }: MetricInput<Settings>): MetricResult => {
    const pixels = pixelsOf(model);
    const curve = scoresAlong(model, {
      order: orderOf(map, pixels),
      // The authors' `int(pixels * share)`.
      counts: SHARES.map((share) => Math.trunc(pixels * share)),
      turn: 'hide',
      baseline: baselineOf(model, options.baseline),
      score: options.score,
    });
    return { value: area(curve, SHARES), curve, shares: SHARES };
  };

/**
 * Positive perturbation: the area under whether the class is still predicted, while 0 % to 90 % of the pixels are
 * blacked out, the map's highest first. In [0, 1], lower is better. Its mean over images is the accuracy's area.
 *
 * Chefer, Gur & Wolf, Transformer Interpretability Beyond Attention Visualization, CVPR 2021. The area is that of the
 * trapezoidal rule with 0 % included, over the range's width of 0.9. The authors report it as 100 times the area,
 * undivided.
 */
export const positivePerturbation = defineMetric({
  name: 'positive-perturbation',
  family: 'faithfulness',
  better: 'lower',
  needsMask: false,
  readsScore: true,
  options: withPresets(fields, { baseline: 'black', score: 'top1' }),
  measure: measured((map) => ranks(map)),
});

/**
 * Negative perturbation: the same while the pixels that the map marks least are blacked out. In [0, 1], higher is
 * better. Chefer et al., CVPR 2021.
 */
export const negativePerturbation = defineMetric({
  name: 'negative-perturbation',
  family: 'faithfulness',
  better: 'higher',
  needsMask: false,
  readsScore: true,
  options: withPresets(fields, { baseline: 'black', score: 'top1' }),
  measure: measured((map, pixels) => sub(pixels - 1, ranks(map))),
});
