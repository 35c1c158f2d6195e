import { accumulate, fullLike, grad, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { all, followsRule, gradientReachesImage, hasClassScores, hasGradients } from '../conditions.js';
import { count, seed } from '../fields.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { baselinesSchema, drawBaselines } from './baseline-draws.js';
import { baselineOf, baselineSchema } from './baseline.js';
import { channelsSchema, overChannels } from './channels.js';
import { completeness } from './completeness.js';

const reasonAgainst = all(hasGradients, hasClassScores, followsRule('deeplift'), gradientReachesImage);

/** Each pixel's share [batch, channels, height, width] in what the score gains over that of the baseline, [batch]. */
function contributions(model: SymbolicModel, baseline: Value): { attributions: Value; gain: Value } {
  const { image } = model;
  const run = model.run(image, { rule: 'deeplift', baseline });
  return {
    attributions: image.sub(baseline).mul(grad(run.score, run.image)),
    gain: run.score.sub(model.run(baseline).score),
  };
}

/**
 * DeepLIFT: what the score gains over that of a baseline, shared out backwards by the rescale rule. Each operator that
 * is not linear lets back the ratio of what its output and its input gain, in place of its derivative. The attributions
 * sum to the gain (completeness), but for rounding; by how much they miss it is shown by the figures
 * `completenessError` and `relativeCompletenessError`.
 *
 * Shrikumar, Greenside & Kundaje, Learning Important Features Through Propagating Activation Differences, ICML 2017;
 * products of two values by the means of both orders, as in Lundberg & Lee 2017.
 */
export const deeplift = defineMethod({
  name: 'deeplift',
  options: withPresets(
    {
      /**
       * The image to compare with: `zero` (the model's mean color), `black`, `white`, `blur` or
       * `{ blur: pixels }`, a number or one per color channel, after normalization.
       */
      baseline: baselineSchema,
      /** How the color channels become one number. The sum keeps the attributions' total. */
      channels: channelsSchema,
    },
    { baseline: 'zero', channels: 'sum' },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst,
  map: ({ model, options }) => {
    const baseline = baselineOf(model, options.baseline) ?? fullLike(model.image, 0);
    const { attributions, gain } = contributions(model, baseline);
    return { map: overChannels(attributions, options.channels), figures: completeness(attributions, gain) };
  },
});

/**
 * DeepLIFT-SHAP: the mean of DeepLIFT over baselines, which approximates Shapley values of the pixels. The attributions
 * sum to what the score gains over its mean on the baselines; by how much rounding misses it is shown by the figures
 * `completenessError` and `relativeCompletenessError`.
 *
 * Lundberg & Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017.
 */
export const deepliftShap = defineMethod({
  name: 'deeplift-shap',
  options: withPresets(
    {
      /**
       * The images that the image is compared with: `{ noise: 1 }` (Gaussian, around the model's mean color), `zero`,
       * `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization; a list
       * of these; or preprocessed images: `{ data: Float32Array, shape: [images, channels, height, width] }`.
       */
      baselines: baselinesSchema,
      /** Baselines that are drawn from noise. Of a list, or of images, each is taken once. */
      samples: count(1),
      /** Of the noise: the same seed gives the same map. */
      seed,
      /** How the color channels become one number. The sum keeps the attributions' total. */
      channels: channelsSchema,
    },
    { baselines: { noise: 1 }, samples: 20, seed: 0, channels: 'sum' },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst,
  map: ({ model, options }) => {
    const baselines = drawBaselines(model, options.baselines, options.seed);
    if ('single' in baselines) {
      const { attributions, gain } = contributions(model, baselines.single ?? fullLike(model.image, 0));
      return { map: overChannels(attributions, options.channels), figures: completeness(attributions, gain) };
    }
    const samples = baselines.count ?? options.samples;
    const sums = accumulate(model.image, samples, (sample) =>
      contributions(model, baselines.draw(sample, sample.add(0.5).div(samples))),
    );
    const attributions = sums.attributions.div(samples);
    return {
      map: overChannels(attributions, options.channels),
      figures: completeness(attributions, sums.gain.div(samples)),
    };
  },
});
