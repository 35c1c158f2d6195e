import { FORWARD, type BenchReport, type Configuration, type Latency, type Throughput } from '../report.js';
import { barPanel, documentOf, linePanel, type LineChart, type Series } from './panels.js';

/** Images per second over the batch size, a line for each job. Null where none was measured; so of the others. */
export function throughputPlot(report: BenchReport): string | null {
  const panels = panelsOf(report.configurations, report.throughput, (title, rows) => {
    const jobs = jobsOf(rows);
    return linePanel({
      title,
      xLabel: 'images per batch',
      yLabel: 'images/s',
      yScale: 'linear',
      series: jobs.map((job, color): Series => ({
        name: nameOf(job),
        color,
        points: rows
          .filter((row) => row.job === job)
          .map(({ batch, imagesPerSecond }) => ({ x: batch, y: imagesPerSecond.median })),
      })),
    });
  });
  return panels.length === 0 ? null : documentOf('Throughput by batch size', panels);
}

const PERCENTILES = [
  ['p50', undefined],
  ['p95', '6 4'],
  ['p99', '2 3'],
] as const;

/** Latency over the number of callers: a panel for each job of each configuration, a line for each percentile. */
export function latencyPlot(report: BenchReport): string | null {
  const panels = report.configurations.flatMap((configuration) => {
    const rows = report.latency.filter((row) => isOf(configuration, row));
    const reach = rows.flatMap(({ milliseconds: { p50, p99 } }) => [p50, p99]);
    const kinds = [...new Map(rows.map((row) => [`${row.source} ${row.job}`, row])).values()];
    return kinds.map(({ job, source }) => {
      const own = rows.filter((row) => row.job === job && row.source === source);
      const chart: LineChart = {
        title: `${nameOf(job)}${source === 'files' ? ', file to file' : ''}: ${titleOf(configuration)}`,
        xLabel: 'concurrent callers',
        yLabel: 'latency, ms',
        yScale: 'log',
        yReach: reach,
        series: PERCENTILES.map(([name, dash], color): Series => ({
          name,
          color,
          ...(dash !== undefined && { dash }),
          points: own.map(({ concurrency, milliseconds }) => ({ x: concurrency, y: milliseconds[name] })),
        })),
      };
      return linePanel(chart);
    });
  });
  return panels.length === 0 ? null : documentOf('Latency by concurrency', panels);
}

/** What each job costs in plain forward passes, a bar for each batch size. */
export function costPlot(report: BenchReport): string | null {
  const costs = report.throughput.filter(({ job }) => job !== FORWARD);
  const batches = [...new Set(costs.map(({ batch }) => batch))].sort((a, b) => a - b);
  const panels = panelsOf(report.configurations, costs, (title, rows) =>
    barPanel({
      title,
      xLabel: 'time, in plain forward passes',
      reference: { value: 1, name: 'plain forward' },
      groups: jobsOf(rows).map((job) => ({
        name: job,
        bars: rows
          .filter((row) => row.job === job)
          .map(({ batch, ratio: { median, low, high } }) => ({
            name: `batch ${batch}`,
            color: batches.indexOf(batch),
            value: median,
            low,
            high,
          })),
      })),
    }),
  );
  return panels.length === 0 ? null : documentOf('Cost over the plain forward pass', panels);
}

/** A panel for each configuration of which there are rows. */
function panelsOf<Row extends Throughput | Latency, P>(
  configurations: readonly Configuration[],
  all: readonly Row[],
  draw: (title: string, rows: readonly Row[]) => P,
): P[] {
  return configurations.flatMap((configuration) => {
    const rows = all.filter((row) => isOf(configuration, row));
    return rows.length === 0 ? [] : [draw(titleOf(configuration), rows)];
  });
}

function isOf(configuration: Configuration, row: Throughput | Latency): boolean {
  return row.model === configuration.model && row.device === configuration.device && row.dtype === configuration.dtype;
}

function titleOf({ model, device, dtype, width, height, gpus }: Configuration): string {
  const index = device.startsWith('cuda:') ? Number(device.slice('cuda:'.length)) : 0;
  const gpu = device.startsWith('cuda') ? gpus.find((each) => each.index === index)?.name : undefined;
  return `${model}, ${device}${gpu === undefined || gpu === null ? '' : ` (${gpu})`}, ${dtype}, ${width} x ${height}`;
}

function jobsOf(rows: readonly (Throughput | Latency)[]): string[] {
  return [...new Set(rows.map(({ job }) => job))];
}

function nameOf(job: string): string {
  return job === FORWARD ? 'plain forward' : job;
}
