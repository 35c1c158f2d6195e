import { z } from 'zod';

import { parseOptions } from '../../support/options.js';
import type { Judgement } from './evaluate.js';
import type { EvaluateRequest } from './options.js';
import { bootstrapMean, holm, pairedTest, type Interval } from './statistics.js';

/** A method's figure by one metric, over all images and targets. */
export interface Summary extends Interval {
  /** The method's label. */
  readonly method: string;
  /** The metric's label. */
  readonly metric: string;
  /** Whether a better map has a higher or a lower figure. */
  readonly better: 'higher' | 'lower';
  /** Maps that have a figure, of which `mean` is the mean and `low` to `high` its bootstrap interval. */
  readonly count: number;
  /** Maps without one: flat, not finite, or of which the metric is not defined. */
  readonly without: number;
  /** Whether its mean is the best of the methods'. */
  readonly isBest: boolean;
  /**
   * How likely so large a mean difference from the best method would be by chance: a paired sign-flip test over the
   * maps that both have, with Holm's correction for all methods of the metric. NaN for the best one itself.
   */
  readonly pValue: number;
}

/** Options of `Evaluation.summary`. */
export interface SummaryOptions {
  /** The share of means that an interval holds: above 0, below 1. Default 0.95. */
  readonly confidence?: number | undefined;
  /** Seed of the resampling, 0 to 4,294,967,295: the same seed gives the same intervals. Default 0. */
  readonly seed?: number | undefined;
}

const schema = z.strictObject({
  confidence: z.number().gt(0).lt(1).default(0.95),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(0),
});

/** The figures of methods by metrics, map by map, and as a whole. */
export class Evaluation {
  /** Labels of the methods, as asked for. */
  readonly methods: readonly string[];
  /** Labels of the metrics, as asked for, and whether a better map has a higher or a lower figure. */
  readonly metrics: readonly { readonly label: string; readonly better: 'higher' | 'lower' }[];

  constructor(
    /** One for each method, image and target: methods first. */
    readonly judgements: readonly Judgement[],
    { methods, metrics }: Pick<EvaluateRequest, 'methods' | 'metrics'>,
  ) {
    this.methods = methods.map(({ label }) => label);
    this.metrics = metrics.map(({ label, metric }) => ({ label, better: metric.better }));
  }

  /**
   * Each method's mean by each metric, with its interval and a test against the best method.
   *
   * @throws SightlineError INVALID_OPTION
   */
  summary(options: SummaryOptions = {}): Summary[] {
    const { confidence, seed } = parseOptions(schema, options, 'summary');
    const ofMethod = this.methods.map((method) => this.judgements.filter((each) => each.method === method));
    return this.metrics.flatMap(({ label, better }) => {
      const figures = ofMethod.map((judged) => judged.map((each) => each.figures[label]!));
      const means = figures.map((all) => bootstrapMean(all.filter(Number.isFinite), confidence, seed));
      const best = bestOf(
        means.map(({ mean }) => mean),
        better,
      );
      const pValues = holm(
        figures.map((all, i) =>
          i === best || best < 0
            ? NaN
            : pairedTest(all.map((figure, at) => figure - figures[best]![at]!).filter(Number.isFinite), seed),
        ),
      );
      return figures.map((all, i): Summary => {
        const count = all.filter(Number.isFinite).length;
        return {
          method: this.methods[i]!,
          metric: label,
          better,
          ...means[i]!,
          count,
          without: all.length - count,
          isBest: i === best,
          pValue: pValues[i]!,
        };
      });
    });
  }
}

/** The place of the best mean; -1 where there is none. */
function bestOf(means: readonly number[], better: 'higher' | 'lower'): number {
  let best = -1;
  means.forEach((mean, i) => {
    if (Number.isNaN(mean)) return;
    const isBetter = best < 0 || (better === 'higher' ? mean > means[best]! : mean < means[best]!);
    if (isBetter) best = i;
  });
  return best;
}
