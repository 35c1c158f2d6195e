import { inlineOf, linePanel, type Series } from '../../bench/plots/panels.js';
import type { Judgement } from '../../requests/evaluate/evaluate.js';
import type { Summary } from '../../requests/evaluate/evaluation.js';

/** What explaining one picture by a method took. */
export interface Cost {
  readonly method: string;
  /** The median. */
  readonly seconds: number;
  readonly count: number;
}

/** A method's mean curve by one metric. */
export interface MeanCurve {
  readonly shares: readonly number[];
  readonly scores: readonly number[];
  /** Maps that it is the mean of. */
  readonly count: number;
  /** Maps whose curve has other steps, as of images of another size. */
  readonly others: number;
}

/** The mean of the curves that have the steps of the first one; null where there is none. */
export function meanCurve(judgements: readonly Judgement[], metric: string): MeanCurve | null {
  const curves = judgements.flatMap(({ curves: all }) => (Object.hasOwn(all, metric) ? [all[metric]!] : []));
  const [first] = curves;
  if (first === undefined) return null;
  const same = curves.filter(
    ({ shares }) => shares.length === first.shares.length && shares.every((share, i) => share === first.shares[i]),
  );
  return {
    shares: Array.from(first.shares),
    scores: Array.from(first.scores, (_, i) => same.reduce((sum, { scores }) => sum + scores[i]!, 0) / same.length),
    count: same.length,
    others: curves.length - same.length,
  };
}

/** Colors begin again after eight; the dashes then differ. */
const DASHES = [undefined, '7 4', '2 3', '10 3 2 3'];

const styleOf = (method: number): Pick<Series, 'color' | 'dash'> => {
  const dash = DASHES[Math.floor(method / 8) % DASHES.length];
  return { color: method, ...(dash !== undefined && { dash }) };
};

/** The mean curve of each method by one metric, as SVG; null of metrics without curves. */
export function curvesChart(
  metric: string,
  methods: readonly string[],
  judgements: readonly Judgement[],
): { readonly svg: string; readonly others: number } | null {
  let others = 0;
  const series = methods.flatMap((name, at): Series[] => {
    const curve = meanCurve(
      judgements.filter(({ method }) => method === name),
      metric,
    );
    if (curve === null) return [];
    others += curve.others;
    const points = curve.shares.map((x, i) => ({ x, y: curve.scores[i]! })).filter(({ y }) => Number.isFinite(y));
    return points.length === 0 ? [] : [{ name, ...styleOf(at), points }];
  });
  if (series.length === 0) return null;
  const panel = linePanel({
    title: metric,
    xLabel: "share of the image's pixels",
    yLabel: 'mean score',
    xScale: 'span',
    yScale: 'span',
    yReach: [0],
    dots: false,
    series,
  });
  return { svg: inlineOf(`Mean curves of ${metric}`, panel), others };
}

/** Each method's mean figure over what it costs, as SVG; null where there is nothing to compare. */
export function costChart(
  metric: string,
  methods: readonly string[],
  summary: readonly Summary[],
  costs: readonly Cost[],
): string | null {
  const series = methods.flatMap((name, at): Series[] => {
    const row = summary.find((each) => each.metric === metric && each.method === name);
    const cost = costs.find(({ method }) => method === name);
    if (row === undefined || cost === undefined || !Number.isFinite(row.mean)) return [];
    return [{ name, ...styleOf(at), points: [{ x: Number(cost.seconds.toPrecision(3)), y: row.mean }] }];
  });
  if (series.length === 0) return null;
  const better = summary.find((each) => each.metric === metric)!.better;
  const panel = linePanel({
    title: `${metric} (${better} is better)`,
    xLabel: 'seconds per picture',
    yLabel: 'mean figure',
    xScale: 'log',
    yScale: 'span',
    series,
  });
  return inlineOf(`${metric} over seconds per picture`, panel);
}
