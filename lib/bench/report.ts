import { readFile } from 'node:fs/promises';

import { z } from 'zod';

import { SightlineError } from '../support/errors.js';
import { unreadable } from '../support/files.js';

// One schema both reads a report of an earlier run and is the type of a new one, so that the two cannot part.

const bytes = z.number().nullable();
const figure = z.object({ median: z.number(), low: z.number(), high: z.number(), samples: z.int() });
const memory = z.object({
  peakResidentBytes: bytes,
  addedResidentBytes: bytes,
  peakDeviceBytes: bytes,
  reservedDeviceBytes: bytes,
});
const gpu = z.object({
  index: z.number().nullable(),
  name: z.string().nullable(),
  driver: z.string().nullable(),
  cuda: z.string().nullable(),
  memoryBytes: bytes,
  memoryUsedBytes: bytes,
  smClock: z.number().nullable(),
  smClockMax: z.number().nullable(),
  memoryClock: z.number().nullable(),
  memoryClockMax: z.number().nullable(),
  powerDraw: z.number().nullable(),
  powerLimit: z.number().nullable(),
  temperature: z.number().nullable(),
  utilization: z.number().nullable(),
  throttleReasons: z.string().nullable(),
  persistence: z.string().nullable(),
  mig: z.string().nullable(),
});
const subject = {
  model: z.string(),
  /** Where it ran: `cpu`, `cuda:0`. */
  device: z.string(),
  dtype: z.string(),
};

const configuration = z.object({
  ...subject,
  /** The archive's path. */
  path: z.string(),
  height: z.int(),
  width: z.int(),
  threads: z.int(),
  weightBytes: z.number(),
  /** Until the model could answer: reading, rewriting, warming up. */
  loadMilliseconds: z.number(),
  /** Of the process once the model is loaded. */
  residentBytes: bytes,
  /** As the configuration's last job ended, its clocks not yet down. */
  gpus: z.array(gpu),
});

const throughput = z.object({
  ...subject,
  /** `forward` for the plain forward pass, `capture NODE` for a capture, else the method as it was asked for. */
  job: z.string(),
  batch: z.int(),
  height: z.int(),
  width: z.int(),
  /** Of the graph that were run; known of captures. */
  operators: z.int().nullable(),
  milliseconds: z.object({
    median: z.number(),
    min: z.number(),
    p95: z.number(),
    /** The very first call, which builds the program. */
    first: z.number(),
    all: z.array(z.number()),
  }),
  imagesPerSecond: figure,
  /** Time over the plain forward pass's of the same round. */
  ratio: figure,
  memory,
});

const latency = z.object({
  ...subject,
  job: z.string(),
  /** `tensors`: ready ones. `files`: from a picture's file to an overlay's. */
  source: z.enum(['tensors', 'files']),
  concurrency: z.int(),
  height: z.int(),
  width: z.int(),
  /** Of one round. */
  requests: z.int(),
  /** Over all rounds' requests. */
  milliseconds: z.object({ p50: z.number(), p95: z.number(), p99: z.number(), min: z.number(), max: z.number() }),
  imagesPerSecond: figure,
  /** Time per image over the plain forward pass's at the same concurrency in the same round. */
  ratio: figure,
  /** Of `files`: its images/s as a share of those of ready tensors in the same round. */
  shareOfTensors: figure.nullable(),
  /** Images that the engine ran together. */
  meanBatch: z.number(),
  /** As it was asked for; null for the default of `Model.load`. */
  maxBatch: z.int().nullable(),
  maxDelay: z.number(),
  memory,
});

const skipped = z.object({
  ...subject,
  job: z.string().nullable(),
  batch: z.int().nullable(),
  concurrency: z.int().nullable(),
  code: z.string(),
  reason: z.string(),
});

const FORMAT = 'sightline-bench/1';

const reportSchema = z.object({
  format: z.literal(FORMAT),
  /** ISO 8601, of the start. */
  date: z.string(),
  seconds: z.number(),
  machine: z.object({
    cpu: z.string().nullable(),
    cores: z.int(),
    memoryBytes: z.number(),
    system: z.string(),
    kernel: z.string(),
    architecture: z.string(),
    /** LibTorch's kernels for this CPU, such as AVX512. */
    capability: z.string(),
    load: z.object({ start: z.number(), end: z.number() }),
  }),
  gpus: z.object({ before: z.array(gpu), after: z.array(gpu) }),
  versions: z.object({
    sightline: z.string(),
    commit: z.object({ hash: z.string(), modified: z.boolean() }).nullable(),
    libtorch: z.string(),
    node: z.string(),
  }),
  options: z.object({ rounds: z.int(), warmup: z.int(), seed: z.int(), images: z.int().nullable() }),
  configurations: z.array(configuration),
  throughput: z.array(throughput),
  latency: z.array(latency),
  skipped: z.array(skipped),
});

/** Everything that one run of `bench` measured, and of what. */
export type BenchReport = z.infer<typeof reportSchema>;
export type Configuration = z.infer<typeof configuration>;
export type Throughput = z.infer<typeof throughput>;
export type Latency = z.infer<typeof latency>;
export type Skipped = z.infer<typeof skipped>;

export const REPORT_FORMAT = FORMAT;

/** The name of the plain forward pass among the jobs. */
export const FORWARD = 'forward';

/**
 * A report that an earlier run wrote.
 *
 * @throws SightlineError FILE_NOT_FOUND, INVALID_INPUT
 */
export async function readReport(path: string): Promise<BenchReport> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EISDIR') {
      throw new SightlineError('NOT_A_FILE', `${path} is a directory; give the bench.json in it.`, { cause });
    }
    throw unreadable(path, cause, 'give a bench.json that sightline bench --out wrote');
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new SightlineError(
      'INVALID_INPUT',
      `${path} is no JSON; give a bench.json that sightline bench --out wrote.`,
      { cause },
    );
  }
  const parsed = reportSchema.safeParse(document);
  if (parsed.success) return parsed.data;
  const { path: place, message } = parsed.error.issues[0]!;
  throw new SightlineError(
    'INVALID_INPUT',
    `${path} is no report of sightline bench (${place.length === 0 ? '' : `${place.join('.')}: `}${message}); give a bench.json that sightline bench --out wrote.`,
  );
}
