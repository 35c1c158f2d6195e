import type { Model } from '../../model/model.js';
import { METHOD_NAMES, type MethodName } from '../../methods/index.js';
import type { Summary } from '../../requests/evaluate/evaluation.js';
import { median } from '../../bench/statistics.js';
import { SightlineError } from '../../support/errors.js';
import type { JudgedPicture } from './judging.js';
import { inputOf, optionsOf, type AskedMethod } from './report-examples.js';

/** Pictures that the cost of each method is the median of. */
const TIMED = 3;
/** A method that the best is told from by chance less often than this is worse. */
const SIGNIFICANT = 0.05;

/** A method by all metrics together. */
export interface Ranked {
  readonly method: string;
  /** The mean over the metrics of its place, 1 for the best; without a figure it has the last place. */
  readonly rank: number;
  /** Seconds to explain a picture alone. */
  readonly seconds: number;
  /** Whether no metric tells it from the metric's best method: it is that, or p is 0.05 or more. */
  readonly isAsGood: boolean;
}

/** Methods, the best first, and the first of them that no metric tells from the best; else the first of all. */
export interface Recommendation {
  readonly ranked: readonly Ranked[];
  readonly method: string;
}

/**
 * The methods that apply to a model and give one map; methods of concepts give several, which no metric judges.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE where none does
 */
export async function applicableMethods(model: Model): Promise<MethodName[]> {
  const { methods } = await model.inspect();
  const applying = METHOD_NAMES.filter(
    (name) => name !== 'deep-feature-factorization' && methods.some((method) => method.name === name && method.applies),
  );
  if (applying.length > 0) return applying;
  throw new SightlineError('METHOD_NOT_APPLICABLE', `No method of sightline applies to ${model.card.name}.`);
}

/** Seconds that each method takes to explain a picture alone: medians, each after a run that makes its program. */
export async function secondsOf(
  model: Pick<Model, 'explain'>,
  methods: readonly AskedMethod[],
  judged: readonly JudgedPicture[],
  signal: AbortSignal,
  now: () => number = () => performance.now() / 1000,
): Promise<number[]> {
  const seconds: number[] = [];
  const pictures = judged.slice(0, TIMED);
  for (const [at, { asked }] of methods.entries()) {
    const times: number[] = [];
    for (const picture of pictures) {
      const input = await inputOf(picture);
      const options = optionsOf(asked, picture.judgements[at]![0]!.target, signal);
      if (times.length === 0) await model.explain([input], options);
      const since = now();
      await model.explain([input], options);
      times.push(now() - since);
    }
    seconds.push(median(times));
  }
  return seconds;
}

/** @param seconds of each method, in the order of `methods` */
export function recommend(
  methods: readonly string[],
  seconds: readonly number[],
  summary: readonly Summary[],
): Recommendation {
  const metrics = [...new Set(summary.map(({ metric }) => metric))];
  const placesOf = metrics.map((metric) => {
    const rows = summary.filter((row) => row.metric === metric);
    return new Map(
      rows.map(({ method, mean, better }) => {
        const isBetter = (other: number): boolean => (better === 'higher' ? other > mean : other < mean);
        const place = Number.isNaN(mean) ? rows.length : 1 + rows.filter((row) => isBetter(row.mean)).length;
        return [method, place] as const;
      }),
    );
  });
  const ranked = methods.map((method, at): Ranked => {
    const own = summary.filter((row) => row.method === method);
    return {
      method,
      rank: placesOf.reduce((sum, places) => sum + places.get(method)!, 0) / metrics.length,
      seconds: seconds[at]!,
      isAsGood: own.every(({ isBest, pValue }) => isBest || pValue >= SIGNIFICANT),
    };
  });
  ranked.sort((a, b) => a.rank - b.rank || a.seconds - b.seconds);
  return { ranked, method: (ranked.find(({ isAsGood }) => isAsGood) ?? ranked[0]!).method };
}
