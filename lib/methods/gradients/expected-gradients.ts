import { accumulate, fullLike, grad, noise, select, type Value } from '../../symbolic/index.js';
import { all, gradientReachesImage, hasGradients } from '../conditions.js';
import { count, flag, noise as deviation, seed } from '../fields.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { baselinesSchema, drawBaselines } from './baseline-draws.js';
import { channelsSchema, overChannels } from './channels.js';
import { completeness } from './completeness.js';

/** Added to the seed, so that each kind of draw has a stream of its own: generators read 32 bits. */
const BASELINE_STREAM = 2 ** 31;
const IMAGE_STREAM = 2 ** 30;

/**
 * Expected gradients (GradientSHAP): integrated gradients averaged over baselines, by samples. Each draws a baseline
 * and one point of the line from there to the image, and takes the gradient there times the difference of both. The
 * points are spread: sample i of n draws its own from the i-th of n equal parts of the line. The attributions sum, on
 * average, to what the score gains over its mean on the baselines. By how much they miss it for the baselines that were
 * drawn is shown by the figures `completenessError` and `relativeCompletenessError`.
 *
 * Erion et al., Improving performance of deep learning models with axiomatic attribution priors and expected gradients,
 * Nature Machine Intelligence 2021.
 */
export const expectedGradients = defineMethod({
  name: 'expected-gradients',
  options: withPresets(
    {
      /** Baselines and points that are drawn. */
      samples: count(1),
      /**
       * The images that lines begin at, one drawn for each sample: `{ noise: 1 }` (Gaussian, around the model's mean
       * color), `zero`, `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after
       * normalization; a list of these; or preprocessed images: `{ data: Float32Array, shape: [images, channels,
       * height, width] }`.
       */
      baselines: baselinesSchema,
      /** Standard deviation of Gaussian noise on the image of each sample, after normalization. */
      noise: deviation,
      /** Of all draws: the same seed gives the same map. */
      seed,
      /** False leaves out the difference: where on the way the model is sensitive, without completeness. */
      multiplyByInputs: flag,
      /** How the color channels become one number. The sum keeps the attributions' total. */
      channels: channelsSchema,
    },
    { samples: 50, baselines: { noise: 1 }, noise: 0, seed: 0, multiplyByInputs: true, channels: 'sum' },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, gradientReachesImage),
  map: ({ model, options }) => {
    const { samples, channels, seed } = options;
    const baselines = drawBaselines(model, options.baselines, seed + BASELINE_STREAM);
    const isNoisy = options.noise > 0;
    const scoreAt = (image: Value | null): Value => model.run(image ?? fullLike(model.image, 0)).score;
    const sums = accumulate<Readonly<Record<string, Value>>>(model.image, samples, (sample) => {
      const draws = noise({ draws: 2 }, sample, seed, 'uniform');
      const share = select(draws, 'draws', 0).add(sample).div(samples);
      const baseline = 'single' in baselines ? baselines.single : baselines.draw(sample, select(draws, 'draws', 1));
      const image = isNoisy
        ? model.image.add(noise(model.image, sample, seed + IMAGE_STREAM, 'normal').mul(options.noise))
        : model.image;
      const way = baseline === null ? image : image.sub(baseline);
      const traveled = way.mul(share);
      const run = model.run(baseline === null ? traveled : traveled.add(baseline));
      const gradient = grad(run.score, run.image);
      if (!options.multiplyByInputs) return { attributions: gradient };
      return {
        attributions: gradient.mul(way),
        // What is the same in all samples is computed once, after the loop.
        ...('draw' in baselines && { start: scoreAt(baseline) }),
        ...(isNoisy && { end: scoreAt(image) }),
      };
    });
    const { attributions, start, end } = Object.fromEntries(
      Object.entries(sums).map(([name, sum]) => [name, sum.div(samples)]),
    );
    if (!options.multiplyByInputs) return overChannels(attributions!, channels);
    const gain = (end ?? model.output.score).sub('single' in baselines ? scoreAt(baselines.single) : start!);
    return { map: overChannels(attributions!, channels), figures: completeness(attributions!, gain) };
  },
});
