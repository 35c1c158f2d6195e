import { SightlineError } from '../support/errors.js';
import { baselineOf, baselineSchema, type Baseline } from '../methods/gradients/baseline.js';
import { bothWays, count, pixels, type Pixels } from '../methods/fields.js';
import { withPresets } from '../methods/presets.js';
import { mean, ranks, select, split, upsample, type Value } from '../symbolic/index.js';
import { area, countsOf, scoresAlong } from './curve.js';
import { scoreOption, type ScoreKind } from './fields.js';
import { defineMetric, type MetricInput, type MetricResult } from './metric.js';

interface Settings {
  readonly region: Pixels;
  readonly baseline: Baseline;
  readonly score: ScoreKind;
}

const fields = {
  /** Pixels of a region, or [down, across]; the image must divide into such regions. */
  region: pixels,
  /** The values in the place of replaced regions: as in `rise`, after normalization. */
  baseline: baselineSchema,
  /** The score of each run: `probability` of the class, `logit`, or `top1`. */
  score: scoreOption,
};

/** Regions of an image from the highest mean of the map down, as the order of their pixels, and how many there are. */
function orderOfRegions(
  { model, map }: Pick<MetricInput<Settings>, 'model' | 'map'>,
  region: Pixels,
  name: string,
): { readonly order: Value; readonly regions: number } {
  const { height, width } = model.inspection;
  const [down, across] = bothWays(region);
  if (height % down !== 0 || width % across !== 0) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${name} divides the model's input of ${height} x ${width} pixels into regions of ${down} x ${across}, which leaves a rest; choose a \`region\` that divides it.`,
    );
  }
  const [rows, columns] = [height / down, width / across];
  const parts = split(split(map, 'height', { height: rows, y: down }), 'width', { width: columns, x: across });
  const means = mean(parts, ['y', 'x']);
  return { order: upsample(ranks(means), height, width, { mode: 'nearest' }), regions: rows * columns };
}

/**
 * Region perturbation: how far the class's score falls, on average, while regions are replaced one after the other,
 * from the highest mean of the map down (AOPC, "area over the perturbation curve"). Higher is better.
 *
 * Samek et al., Evaluating the Visualization of What a Deep Neural Network Has Learned, TNNLS 2017: regions of 9 x 9,
 * which most inputs do not divide into, so here of 8 x 8; 100 steps.
 */
export const regionPerturbation = defineMetric({
  name: 'region-perturbation',
  family: 'faithfulness',
  better: 'higher',
  needsMask: false,
  readsScore: true,
  options: withPresets(
    {
      ...fields,
      /** Regions that are replaced; all, where the image has fewer. */
      steps: count(1),
    },
    { region: 8, steps: 100, baseline: 'zero', score: 'probability' },
  ),
  measure: (input): MetricResult => {
    const { model, options } = input;
    const { order, regions } = orderOfRegions(input, options.region, 'region-perturbation');
    const steps = Math.min(options.steps, regions);
    const counts = countsOf(steps, steps);
    const baseline = baselineOf(model, options.baseline);
    const curve = scoresAlong(model, { order, counts, turn: 'hide', baseline, score: options.score });
    return {
      value: select(curve, 'sample', 0).sub(mean(curve, 'sample')),
      curve,
      shares: counts.map((had) => had / regions),
    };
  },
});

/**
 * Selectivity: the area under the class's score while all regions are replaced one after the other, from the highest
 * mean of the map down. Lower is better.
 *
 * Montavon, Samek & Mueller, Methods for Interpreting and Understanding Deep Neural Networks, 2018.
 */
export const selectivity = defineMetric({
  name: 'selectivity',
  family: 'faithfulness',
  better: 'lower',
  needsMask: false,
  readsScore: true,
  options: withPresets(fields, { region: 8, baseline: 'zero', score: 'probability' }),
  measure: (input): MetricResult => {
    const { model, options } = input;
    const { order, regions } = orderOfRegions(input, options.region, 'selectivity');
    const counts = countsOf(regions, regions);
    const shares = counts.map((had) => had / regions);
    const baseline = baselineOf(model, options.baseline);
    const curve = scoresAlong(model, { order, counts, turn: 'hide', baseline, score: options.score });
    return { value: area(curve, shares), curve, shares };
  },
});
