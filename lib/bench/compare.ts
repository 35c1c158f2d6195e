import type { BenchReport, Latency, Throughput } from './report.js';
import type { Figure } from './statistics.js';

/**
 * What became of a figure. `noise`: the middle halves of the two runs' samples overlap. `unproven`: too few samples to
 * tell. Else the two are apart, and the figure is better or worse.
 */
export type Verdict = 'better' | 'worse' | 'noise' | 'unproven';

export interface Change {
  readonly before: Figure;
  readonly after: Figure;
  /** Of the medians, as a share of that before: 0.1 for 10 % more. */
  readonly change: number;
  readonly verdict: Verdict;
}

/** What both runs measured. */
export interface ComparedRow {
  readonly model: string;
  readonly device: string;
  readonly dtype: string;
  readonly job: string;
  /** Null of closed loops. */
  readonly batch: number | null;
  /** Null of batches. */
  readonly concurrency: number | null;
  readonly source: Latency['source'];
  readonly height: number;
  readonly width: number;
  readonly imagesPerSecond: Change;
  readonly ratio: Change;
}

export interface Comparison {
  /** Date of the earlier run. */
  readonly before: string;
  /** What of machine, versions and set-up is not the same, in words. */
  readonly differences: readonly string[];
  readonly rows: readonly ComparedRow[];
  /** How many figures only one of the runs has. */
  readonly onlyBefore: number;
  readonly onlyAfter: number;
}

/** Quartiles of fewer samples say nothing about their spread. */
const FEWEST_SAMPLES = 3;

export function changeOf(before: Figure, after: Figure, isMoreBetter: boolean): Change {
  const change = after.median / before.median - 1;
  if (Math.min(before.samples, after.samples) < FEWEST_SAMPLES) return { before, after, change, verdict: 'unproven' };
  const isApart = after.low > before.high || after.high < before.low;
  return { before, after, change, verdict: !isApart ? 'noise' : change > 0 === isMoreBetter ? 'better' : 'worse' };
}

/** Joins two reports by model, method, batch or concurrency, dtype, device and image size. */
export function compareReports(before: BenchReport, after: BenchReport): Comparison {
  const earlier = new Map(rowsOf(before).map((row) => [keyOf(row), row]));
  const rows: ComparedRow[] = [];
  let onlyAfter = 0;
  for (const row of rowsOf(after)) {
    const key = keyOf(row);
    const counterpart = earlier.get(key);
    if (counterpart === undefined) {
      onlyAfter++;
      continue;
    }
    earlier.delete(key);
    rows.push({
      ...row,
      imagesPerSecond: changeOf(counterpart.imagesPerSecond, row.imagesPerSecond, true),
      ratio: changeOf(counterpart.ratio, row.ratio, false),
    });
  }
  return { before: before.date, differences: differencesOf(before, after), rows, onlyBefore: earlier.size, onlyAfter };
}

type Row = Omit<ComparedRow, 'imagesPerSecond' | 'ratio'> & Pick<Throughput, 'imagesPerSecond' | 'ratio'>;

function rowsOf({ throughput, latency }: BenchReport): Row[] {
  return [
    ...throughput.map((row) => ({ ...row, concurrency: null, source: 'tensors' as const })),
    ...latency.map((row) => ({ ...row, batch: null })),
  ].map(({ model, device, dtype, job, batch, concurrency, source, height, width, imagesPerSecond, ratio }) => ({
    model,
    device,
    dtype,
    job,
    batch,
    concurrency,
    source,
    height,
    width,
    imagesPerSecond,
    ratio,
  }));
}

function keyOf({ model, device, dtype, job, batch, concurrency, source, height, width }: Row): string {
  return JSON.stringify([model, device, dtype, job, batch, concurrency, source, height, width]);
}

function differencesOf(before: BenchReport, after: BenchReport): string[] {
  const facts = (report: BenchReport): Record<string, string> => {
    const { machine, versions, gpus, options } = report;
    const { commit } = versions;
    return {
      CPU: machine.cpu ?? 'unknown',
      cores: String(machine.cores),
      threads: distinct(report.configurations.map(({ threads }) => String(threads))),
      kernels: machine.capability,
      memory: `${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB`,
      system: `${machine.system} ${machine.kernel} ${machine.architecture}`,
      GPU: distinct(gpus.before.map(({ name }) => name ?? 'unknown')),
      driver: distinct(gpus.before.map(({ driver }) => driver ?? 'unknown')),
      LibTorch: versions.libtorch,
      Node: versions.node,
      sightline: versions.sightline,
      commit: commit === null ? 'unknown' : `${commit.hash.slice(0, 10)}${commit.modified ? ' modified' : ''}`,
      rounds: String(options.rounds),
    };
  };
  const [earlier, later] = [facts(before), facts(after)];
  return Object.keys(earlier)
    .filter((name) => earlier[name] !== later[name])
    .map((name) => `${name}: ${earlier[name]} before, ${later[name]} now`);
}

function distinct(values: readonly string[]): string {
  return values.length === 0 ? 'none' : [...new Set(values)].join(', ');
}
