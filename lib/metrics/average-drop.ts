import { baselineOf, baselineSchema, masked, type Baseline } from '../methods/gradients/baseline.js';
import { withPresets } from '../methods/presets.js';
import { greater, relu, scaleToUnit, where, type Value } from '../symbolic/index.js';
import { defineMetric, type MetricInput } from './metric.js';

interface Settings {
  readonly baseline: Baseline;
}

const known = { family: 'faithfulness', needsMask: false, readsScore: true } as const;
const options = withPresets(
  {
    /** The values that the image fades to where the map is 0: as in `rise`, after normalization. */
    baseline: baselineSchema,
  },
  { baseline: 'zero' },
);

/** The class's probability of the image, and of the image times the map in [0, 1]: [batch] each. */
function probabilities({ model, map, options: { baseline } }: MetricInput<Settings>): { whole: Value; kept: Value } {
  const seen = masked(model.image, scaleToUnit(map), baselineOf(model, baseline));
  return {
    whole: model.scoreIn(model.output.probabilities),
    kept: model.scoreIn(model.run(seen).probabilities),
  };
}

/**
 * Average drop: by what share of itself the class's probability falls when the image is multiplied by the map. In [0,
 * 1], lower is better; a rise counts as 0.
 *
 * Chattopadhay et al., Grad-CAM++, WACV 2018, who give it in percent.
 */
export const averageDrop = defineMetric({
  ...known,
  name: 'average-drop',
  better: 'lower',
  options,
  measure: (input) => {
    const { whole, kept } = probabilities(input);
    return relu(whole.sub(kept)).div(whole);
  },
});

/**
 * Increase in confidence: 1 where the class's probability rises when the image is multiplied by the map, else 0; its
 * mean over images is the share that rises. Higher is better.
 *
 * Chattopadhay et al., Grad-CAM++, WACV 2018, who give it in percent.
 */
export const increaseInConfidence = defineMetric({
  ...known,
  name: 'increase-in-confidence',
  better: 'higher',
  options,
  measure: (input) => {
    const { whole, kept } = probabilities(input);
    return greater(kept, whole);
  },
});

/**
 * Average gain: by what share of the probability still to be gained, 1 - p, the class's probability p rises when the
 * image is multiplied by the map. In [0, 1], higher is better; a fall counts as 0, and so does p = 1.
 *
 * Zhang, Torres, Sicre, Avrithis & Ayache, Opti-CAM, CVIU 2024.
 */
export const averageGain = defineMetric({
  ...known,
  name: 'average-gain',
  better: 'higher',
  options,
  measure: (input) => {
    const { whole, kept } = probabilities(input);
    const rest = whole.mul(-1).add(1);
    return where(greater(rest, 0), relu(kept.sub(whole)).div(where(greater(rest, 0), rest, 1)), 0);
  },
});
