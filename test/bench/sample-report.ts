import {
  FORWARD,
  type BenchReport,
  type Configuration,
  type Latency,
  type Throughput,
} from '../../lib/bench/report.js';
import { figureOf, median, percentile, ratiosWithinRounds } from '../../lib/bench/statistics.js';

const MEMORY = {
  peakResidentBytes: 2 ** 28,
  addedResidentBytes: 2 ** 24,
  peakDeviceBytes: null,
  reservedDeviceBytes: null,
};

/** What a row is of, where it is not of the only configuration. */
export interface Place {
  readonly model?: string;
  readonly device?: string;
  readonly dtype?: string;
}

const subjectOf = ({
  model = 'net',
  device = 'cpu',
  dtype = 'f32',
}: Place): { model: string; device: string; dtype: string } => ({ model, device, dtype });

export function configuration(place: Place = {}): Configuration {
  return {
    ...subjectOf(place),
    path: '/models/net.pt',
    height: 32,
    width: 48,
    threads: 2,
    weightBytes: 2 ** 20,
    loadMilliseconds: 1200,
    residentBytes: 2 ** 27,
    gpus: [],
  };
}

/** A row of throughput out of the times of its rounds and those of the plain forward pass. */
export function throughputRow(
  job: string,
  batch: number,
  times: readonly number[],
  forward: readonly number[],
  place: Place = {},
): Throughput {
  return {
    ...{
      ...subjectOf(place),
      job,
      batch,
      height: 32,
      width: 48,
      operators: job === FORWARD ? 20 : null,
      memory: MEMORY,
    },
    milliseconds: {
      median: median(times),
      min: Math.min(...times),
      p95: percentile(times, 0.95),
      first: 500,
      all: [...times],
    },
    imagesPerSecond: figureOf(times.map((time) => (1000 * batch) / time)),
    ratio: figureOf(ratiosWithinRounds(times, forward)),
  };
}

export function latencyRow(
  job: string,
  concurrency: number,
  [p50, p95, p99]: readonly [number, number, number],
  place: Place & { readonly source?: 'files' } = {},
): Latency {
  const source = place.source ?? 'tensors';
  const figure = (value: number): Latency['ratio'] => ({
    median: value,
    low: value * 0.95,
    high: value * 1.05,
    samples: 9,
  });
  return {
    ...{ ...subjectOf(place), job, source, concurrency, height: 32, width: 48, requests: 64, memory: MEMORY },
    ...{
      milliseconds: { p50, p95, p99, min: p50 / 2, max: p99 * 2 },
      imagesPerSecond: figure((1000 * concurrency) / p50),
      ratio: figure(1.1),
    },
    ...{ shareOfTensors: source === 'files' ? figure(0.9) : null, meanBatch: 2.5, maxBatch: null, maxDelay: 0 },
  };
}

export function sampleReport(parts: Partial<BenchReport> = {}): BenchReport {
  return {
    format: 'sightline-bench/1',
    date: '2026-11-22T00:00:00.000Z',
    seconds: 12,
    machine: {
      cpu: 'Some CPU',
      cores: 2,
      memoryBytes: 2 ** 34,
      system: 'Linux',
      kernel: '6.1',
      architecture: 'x64',
      capability: 'AVX512',
      load: { start: 0.1, end: 1.9 },
    },
    gpus: { before: [], after: [] },
    versions: { sightline: '0.1.0', commit: null, libtorch: '2.13.0', node: 'v20.20.2' },
    options: { rounds: 5, warmup: 2, seed: 0, images: null },
    configurations: [configuration()],
    throughput: [],
    latency: [],
    skipped: [],
    ...parts,
  };
}
