import { z } from 'zod';

import { noise as deviation, seed } from '../methods/fields.js';
import { withPresets } from '../methods/presets.js';
import {
  concatenate,
  constant,
  greater,
  impute,
  mean,
  noise,
  ranks,
  sub,
  take,
  type SymbolicModel,
  type Value,
} from '../symbolic/index.js';
import { pixelsOf } from './curve.js';
import { scoreIn, scoreOption, type ScoreKind } from './fields.js';
import { defineMetric, type MetricInput, type MetricResult } from './metric.js';

interface Settings {
  readonly shares: readonly number[];
  readonly noise: number;
  readonly score: ScoreKind;
  readonly seed: number;
}

const SHARES = 'a list of 1 to 100 shares above 0 and below 1 is expected';
const share = z.number({ error: SHARES }).gt(0, { error: SHARES }).lt(1, { error: SHARES });
const options = withPresets(
  {
    /** Shares of the pixels that are removed, one run each: above 0, below 1. */
    shares: z.array(share, { error: SHARES }).min(1, { error: SHARES }).max(100, { error: SHARES }),
    /** Standard deviation of the noise on filled-in pixels, after normalization. */
    noise: deviation,
    /** The score of each run: `probability` of the class, `logit`, or `top1`. */
    score: scoreOption,
    /** Of the noise: the same seed gives the same figure. */
    seed,
  },
  { shares: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], noise: 0.01, score: 'probability', seed: 0 },
  { packages: { 'pytorch-grad-cam': { score: 'logit' } } },
);

/** The score with so many pixels of an order removed and filled in from the others: [batch, sample]. */
function scoresWithout(model: SymbolicModel, order: Value, { shares, noise: amount, score, seed }: Settings): Value {
  const pixels = pixelsOf(model);
  const counts = constant(
    model.image,
    Float32Array.from(shares, (of) => Math.round(of * pixels)),
    {
      point: shares.length,
    },
  );
  return concatenate(model.image, shares.length, (sample) => {
    const removed = greater(take(counts, sample), order);
    const filled = impute(model.image, removed);
    const noisy = filled.add(noise(model.image, sample, seed, 'normal').mul(amount).mul(removed));
    return scoreIn(model, model.run(noisy), score);
  });
}

const lowestFirst = ({ model, map }: MetricInput<Settings>): Value => sub(pixelsOf(model) - 1, ranks(map));

const known = { family: 'faithfulness', needsMask: false, readsScore: true, options } as const;

/**
 * ROAD, most relevant first: the mean of the class's probability with 10 % to 90 % of the pixels removed, the map's
 * highest first, and filled in from their neighbors. Lower is better.
 *
 * Rong, Leemann, Borisov, Kasneci & Kasneci, A Consistent and Efficient Evaluation Strategy for Attribution Methods,
 * ICML 2022.
 */
export const roadMostRelevantFirst = defineMetric({
  ...known,
  name: 'road-morf',
  better: 'lower',
  measure: ({ model, map, options }): MetricResult => {
    const curve = scoresWithout(model, ranks(map), options);
    return { value: mean(curve, 'sample'), curve, shares: options.shares };
  },
});

/**
 * ROAD, least relevant first: the same with the map's lowest pixels removed. Higher is better. Rong et al., ICML 2022.
 */
export const roadLeastRelevantFirst = defineMetric({
  ...known,
  name: 'road-lerf',
  better: 'higher',
  measure: (input): MetricResult => {
    const curve = scoresWithout(input.model, lowestFirst(input), input.options);
    return { value: mean(curve, 'sample'), curve, shares: input.options.shares };
  },
});

/**
 * ROAD, combined: half of what the mean probability is higher by with the map's lowest pixels removed than with its
 * highest. In [-0.5, 0.5] for probabilities, higher is better. Its curve is that difference at each share.
 *
 * Rong et al., ICML 2022, as pytorch-grad-cam combines them.
 */
export const road = defineMetric({
  ...known,
  name: 'road',
  better: 'higher',
  measure: (input): MetricResult => {
    const { model, map, options } = input;
    const [most, least] = [ranks(map), lowestFirst(input)].map((order) => scoresWithout(model, order, options));
    const curve = least!.sub(most!).mul(0.5);
    return { value: mean(curve, 'sample'), curve, shares: options.shares };
  },
});
