import type { Change, Comparison } from './compare.js';
import type { GpuState } from './gpus.js';
import {
  FORWARD,
  type BenchReport,
  type Configuration,
  type Latency,
  type Skipped,
  type Throughput,
} from './report.js';
import { relativeSpread } from './statistics.js';

/** A report in lines for people. */
export function reportLines(report: BenchReport): string[] {
  const lines = machineLines(report);
  for (const configuration of report.configurations) {
    const isOf = (row: Throughput | Latency): boolean =>
      row.model === configuration.model && row.device === configuration.device && row.dtype === configuration.dtype;
    lines.push('', headingOf(configuration));
    const throughput = report.throughput.filter(isOf);
    if (throughput.length > 0) lines.push(...throughputLines(throughput));
    const latency = report.latency.filter(isOf);
    if (latency.length > 0) lines.push(...(throughput.length > 0 ? [''] : []), ...latencyLines(latency));
  }
  if (report.skipped.length > 0) lines.push('', 'not measured', ...new Set(report.skipped.map(skippedLine)));
  return lines;
}

function skippedLine({ model, device, dtype, job, batch, concurrency, code, reason }: Skipped): string {
  // The same in every dtype and on every device.
  if (code === 'METHOD_NOT_APPLICABLE') return `  ${reason}`;
  const place = [
    `${model} on ${device}`,
    dtype,
    job,
    batch === null ? null : `batch ${batch}`,
    concurrency === null ? null : `${concurrency} concurrent`,
  ];
  return `  ${place.filter((part) => part !== null).join(', ')}: ${reason}`;
}

function machineLines({ machine, versions, gpus, options }: BenchReport): string[] {
  const { commit } = versions;
  return [
    `${machine.cpu ?? 'unknown CPU'}, ${count(machine.cores, 'core')}, ${machine.capability}, ${gibibytes(machine.memoryBytes)} of memory, ${machine.system} ${machine.kernel}, load ${machine.load.start.toFixed(1)} at the start and ${machine.load.end.toFixed(1)} at the end`,
    ...gpus.before.map((gpu, i) => gpuLine(gpu, gpus.after[i])),
    `sightline ${versions.sightline}${commit === null ? '' : ` (${commit.hash.slice(0, 10)}${commit.modified ? ', modified' : ''})`}, LibTorch ${versions.libtorch}, Node ${versions.node}; ${count(options.rounds, 'round')} after ${options.warmup} of warm-up`,
  ];
}

function gpuLine(before: GpuState, after: GpuState | undefined): string {
  const told = <T>(value: T | null | undefined, write: (value: T) => string): string | null =>
    value === null || value === undefined ? null : write(value);
  return [
    `GPU ${before.index ?? ''}: ${before.name ?? 'unknown'}`,
    told(before.driver, (driver) => `driver ${driver}`),
    told(before.cuda, (cuda) => `CUDA ${cuda}`),
    told(before.memoryBytes, gibibytes),
    told(after?.smClock, (clock) => `SM ${clock}${before.smClockMax === null ? '' : ` of ${before.smClockMax}`} MHz`),
    told(
      after?.memoryClock,
      (clock) => `memory ${clock}${before.memoryClockMax === null ? '' : ` of ${before.memoryClockMax}`} MHz`,
    ),
    told(before.powerLimit, (limit) => `limit ${limit} W`),
    told(after?.temperature, (temperature) => `${temperature} °C at the end`),
    told(after?.throttleReasons, (reasons) => `throttle reasons ${reasons}`),
    told(before.persistence, (mode) => `persistence ${mode}`),
    told(before.mig, (mode) => `MIG ${mode}`),
  ]
    .filter((part) => part !== null)
    .join(', ');
}

function headingOf({
  model,
  device,
  dtype,
  width,
  height,
  threads,
  weightBytes,
  loadMilliseconds,
}: Configuration): string {
  const where = device === 'cpu' ? `cpu, ${count(threads, 'thread')}` : device;
  return `${model} on ${where}, ${dtype}, ${width} x ${height}; weights ${mebibytes(weightBytes)}, ready after ${(loadMilliseconds / 1000).toFixed(1)} s`;
}

function throughputLines(rows: readonly Throughput[]): string[] {
  const hasOperators = rows.some(({ operators, job }) => operators !== null && job !== FORWARD);
  const hasDevice = rows.some(({ memory }) => memory.peakDeviceBytes !== null);
  return columns(
    [
      'batch',
      'job',
      'images/s',
      'median ms',
      'min ms',
      'p95 ms',
      'x forward',
      'spread',
      'peak memory',
      'added',
      ...(hasDevice ? ['GPU peak', 'GPU held'] : []),
      ...(hasOperators ? ['operators'] : []),
    ],
    rows.map(({ batch, job, imagesPerSecond, milliseconds, ratio, memory, operators }) => [
      String(batch),
      job,
      short(imagesPerSecond.median),
      short(milliseconds.median),
      short(milliseconds.min),
      short(milliseconds.p95),
      ratio.median.toFixed(2),
      percent(relativeSpread(job === FORWARD ? imagesPerSecond : ratio)),
      mebibytes(memory.peakResidentBytes),
      mebibytes(memory.addedResidentBytes),
      ...(hasDevice ? [mebibytes(memory.peakDeviceBytes), mebibytes(memory.reservedDeviceBytes)] : []),
      ...(hasOperators ? [operators === null ? '' : String(operators)] : []),
    ]),
  );
}

function latencyLines(rows: readonly Latency[]): string[] {
  const hasFiles = rows.some(({ source }) => source === 'files');
  const hasDevice = rows.some(({ memory }) => memory.peakDeviceBytes !== null);
  return columns(
    [
      'concurrent',
      'job',
      'images/s',
      'p50 ms',
      'p95 ms',
      'p99 ms',
      'x forward',
      'spread',
      'mean batch',
      'peak memory',
      'added',
      ...(hasDevice ? ['GPU peak', 'GPU held'] : []),
      ...(hasFiles ? ['of tensors'] : []),
    ],
    rows.map(
      ({ concurrency, job, source, imagesPerSecond, milliseconds, ratio, meanBatch, memory, shareOfTensors }) => [
        String(concurrency),
        source === 'files' ? `${job}, file to file` : job,
        short(imagesPerSecond.median),
        short(milliseconds.p50),
        short(milliseconds.p95),
        short(milliseconds.p99),
        ratio.median.toFixed(2),
        percent(relativeSpread(job === FORWARD ? imagesPerSecond : ratio)),
        meanBatch.toFixed(1),
        mebibytes(memory.peakResidentBytes),
        mebibytes(memory.addedResidentBytes),
        ...(hasDevice ? [mebibytes(memory.peakDeviceBytes), mebibytes(memory.reservedDeviceBytes)] : []),
        ...(hasFiles ? [shareOfTensors === null ? '' : shareOfTensors.median.toFixed(2)] : []),
      ],
    ),
  );
}

/** A comparison in lines for people. */
export function comparisonLines({ before, differences, rows, onlyBefore, onlyAfter }: Comparison): string[] {
  const lines = ['', `compared with the run of ${before}`];
  if (differences.length > 0) lines.push(`  not the same in both runs: ${differences.join('; ')}`);
  if (rows.length > 0) {
    lines.push(
      ...columns(
        ['model', 'device', 'dtype', 'at', 'job', 'x forward', 'change', '', 'images/s', 'change', ''],
        rows.map(({ model, device, dtype, batch, concurrency, job, source, ratio, imagesPerSecond }) => [
          model,
          device,
          dtype,
          batch === null ? `${concurrency} concurrent` : `batch ${batch}`,
          source === 'files' ? `${job}, file to file` : job,
          ...(job === FORWARD ? ['', '', ''] : changeCells(ratio, (value) => value.toFixed(2))),
          ...changeCells(imagesPerSecond, short),
        ]),
        5,
      ),
    );
  }
  if (onlyBefore + onlyAfter > 0) {
    lines.push(
      `  ${onlyBefore} of the earlier run's figures have no counterpart in this one, ${onlyAfter} of this one's none in the earlier`,
    );
  }
  return lines;
}

function changeCells(
  { before, after, change, verdict }: Change,
  write: (value: number) => string,
): [string, string, string] {
  return [
    `${write(before.median)} -> ${write(after.median)}`,
    `${change > 0 ? '+' : ''}${(100 * change).toFixed(1)} %`,
    verdict,
  ];
}

/** Right-aligned columns under their heads; the first `left` (of throughput: two) hold words. */
function columns(head: readonly string[], rows: readonly (readonly string[])[], left = 2): string[] {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]!.length)));
  const isWords = (i: number): boolean => (left === 2 ? i === 1 : i < left || head[i] === '');
  return [head, ...rows].map((row) =>
    `  ${row.map((cell, i) => (isWords(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')}`.trimEnd(),
  );
}

/** Three significant digits, and all of those before the point. */
export function short(value: number): string {
  return value >= 100
    ? value.toFixed(0)
    : value >= 10
      ? value.toFixed(1)
      : value >= 1
        ? value.toFixed(2)
        : String(Number(value.toPrecision(3)));
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function mebibytes(bytes: number | null): string {
  return bytes === null ? 'unknown' : `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
