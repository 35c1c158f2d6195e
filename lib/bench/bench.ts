import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import { extname, join } from 'node:path';

import { z } from 'zod';

import { SightlineError, type ErrorCode } from '../support/errors.js';
import { locateModel } from '../model/locate.js';
import { shortName } from '../model/short-name.js';
import { parseOptions } from '../support/options.js';
import { measureApart } from './child.js';
import type { ConfigurationRequest, Finding } from './configuration-request.js';
import { gpuStates } from './gpus.js';
import { commitOf, describeMachine, load, packageVersion } from './machine.js';
import { parseMethodRequest } from './method-request.js';
import { REPORT_FORMAT, type BenchReport } from './report.js';

export type { BenchReport } from './report.js';

/** The options of `bench`. */
export interface BenchOptions {
  /** Bundled models or paths of archives. */
  readonly models: readonly string[];
  /** Methods, with options as in `grad-cam:layer=layer3`. Default: `DEFAULT_METHODS`, as far as they apply. */
  readonly methods?: readonly string[] | undefined;
  /**
   * The captures to measure: nodes by name, `50%` for the node half way, `attention` for all of it. Default: nothing.
   */
  readonly captures?: readonly string[] | undefined;
  /**
   * Batch sizes whose throughput is measured, in images: 1 to 4,096 each. Default [1, 8], or none where only
   * `concurrency` is given.
   */
  readonly batches?: readonly number[] | undefined;
  /**
   * Numbers of callers whose latency is measured: 1 to 4,096 each. Default [1, 8], or none where only `batches` is
   * given.
   */
  readonly concurrency?: readonly number[] | undefined;
  /** Default ['auto']. */
  readonly devices?: readonly string[] | undefined;
  /** Default ['f32']. */
  readonly dtypes?: readonly ('f32' | 'bf16' | 'f16')[] | undefined;
  /** CPU threads: 1 to 1,024. Default: all cores. */
  readonly threads?: number | undefined;
  /** Rounds that count: 1 to 10,000. Default 9. */
  readonly rounds?: number | undefined;
  /** Rounds before them: 1 to 1,000. Default 2. */
  readonly warmup?: number | undefined;
  /** Side of square inputs in pixels, for models that take it: 1 to 16,384. Default: the model's own size. */
  readonly size?: number | undefined;
  /**
   * Requests of one round of a closed loop, at least one per caller: 1 to 10,000,000. Default: four per caller, at
   * least 16.
   */
  readonly requests?: number | undefined;
  /** Most images in one batch, as of `Model.load`: 1 to 4,096. Default: that of `Model.load`. */
  readonly maxBatch?: number | undefined;
  /** How long a batch waits for more images, in milliseconds, as of `Model.load`: 0 to 60,000. Default 0. */
  readonly maxDelay?: number | undefined;
  /** A folder of pictures: each method is also measured from their files to overlays in files. Default: none. */
  readonly images?: string | undefined;
  /** Seed of the random inputs: 0 to 4,294,967,295. Default 0. */
  readonly seed?: number | undefined;
  /** Aborting rejects with ABORTED. Default: none. */
  readonly signal?: AbortSignal | undefined;
  /** Called with how far the run is. Default: none. */
  readonly onProgress?: ((line: string) => void) | undefined;
  /** Called, once, with what a reader of the figures should know. Default: none. */
  readonly onNote?: ((sentence: string) => void) | undefined;
}

/** The methods that are measured unless others are named. */
export const DEFAULT_METHODS = ['cam', 'grad-cam', 'attention-rollout', 'gradient-rollout', 'gae'] as const;

const sizes = z.array(z.int().min(1).max(4096)).min(1);
const schema = z.strictObject({
  models: z.array(z.string().min(1)).min(1),
  methods: z.array(z.string()).min(1).optional(),
  captures: z.array(z.string().min(1)).default([]),
  batches: sizes.optional(),
  concurrency: sizes.optional(),
  devices: z.array(z.string().min(1)).min(1).default(['auto']),
  dtypes: z
    .array(z.enum(['f32', 'bf16', 'f16']))
    .min(1)
    .default(['f32']),
  threads: z.int().min(1).max(1024).optional(),
  rounds: z.int().min(1).max(10_000).default(9),
  warmup: z.int().min(1).max(1000).default(2),
  size: z.int().min(1).max(16_384).optional(),
  requests: z.int().min(1).max(10_000_000).optional(),
  maxBatch: z.int().min(1).max(4096).optional(),
  maxDelay: z.number().min(0).max(60_000).default(0),
  images: z.string().min(1).optional(),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(0),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: z.custom<(line: string) => void>((value) => typeof value === 'function').optional(),
  onNote: z.custom<(sentence: string) => void>((value) => typeof value === 'function').optional(),
});

/**
 * Measures models: throughput by batch size, latency by concurrency, memory, and what each method costs over the plain
 * forward pass. Each model, device and dtype gets a process of its own, one after the other.
 *
 * @throws SightlineError INVALID_OPTION, UNKNOWN_MODEL, FILE_NOT_FOUND and others of `Model.load`,
 * METHOD_NOT_APPLICABLE where the only model does not take a method that was named, ABORTED
 */
export async function bench(options: BenchOptions): Promise<BenchReport> {
  const asked = parseOptions(schema, options, 'bench');
  const { signal, onProgress, onNote } = asked;
  const methods = unique(asked.methods ?? DEFAULT_METHODS).map(parseMethodRequest);
  const models = await namedModels(unique(asked.models));
  const isEither = asked.batches !== undefined || asked.concurrency !== undefined;
  const batches = unique(asked.batches ?? (isEither ? [] : [1, 8]));
  const concurrency = unique(asked.concurrency ?? (isEither ? [] : [1, 8]));
  if (asked.images !== undefined && concurrency.length === 0) {
    throw new SightlineError(
      'INVALID_OPTION',
      'Files are measured by concurrent requests; say how many (concurrency).',
    );
  }
  if (asked.images !== undefined && asked.size !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      "Files are brought to the model's own size, so images and size do not go together; leave one out.",
    );
  }
  const files = asked.images === undefined ? [] : await picturesIn(asked.images);

  const date = new Date();
  const started = performance.now();
  const loadAtStart = load();
  const machine = describeMachine();
  if (loadAtStart > machine.cores / 2) {
    onNote?.(
      `The machine is busy (load ${loadAtStart.toFixed(1)} on ${machine.cores} cores): times will be too long, and only ratios can be relied on.`,
    );
  }
  const before = await gpuStates();
  let after = before;
  let libtorch: string | null = null;
  let capability: string | null = null;
  const report = {
    configurations: [] as BenchReport['configurations'],
    throughput: [] as BenchReport['throughput'],
    latency: [] as BenchReport['latency'],
    skipped: [] as BenchReport['skipped'],
  };
  const scratch = files.length === 0 ? null : await mkdtemp(join(os.tmpdir(), 'sightline-bench-'));
  try {
    for (const model of models) {
      for (const device of unique(asked.devices)) {
        for (const dtype of unique(asked.dtypes)) {
          const request: ConfigurationRequest = {
            ...{
              model,
              device: device as ConfigurationRequest['device'],
              dtype,
              methods,
              batches,
              concurrency,
              files,
              scratch,
            },
            threads: asked.threads ?? null,
            size: asked.size ?? null,
            captures: unique(asked.captures),
            isOneOfMany: models.length > 1,
            areMethodsNamed: asked.methods !== undefined,
            rounds: asked.rounds,
            warmup: asked.warmup,
            requests: asked.requests ?? null,
            maxBatch: asked.maxBatch ?? null,
            maxDelay: asked.maxDelay,
            seed: asked.seed,
          };
          const tell = (finding: Finding): void => {
            if (finding.kind === 'progress') onProgress?.(finding.line);
            else if (finding.kind === 'note') onNote?.(finding.sentence);
            else if (finding.kind === 'loaded') {
              ({ libtorch, capability } = finding);
              report.configurations.push({ ...finding.configuration, gpus: [] });
            } else if (finding.kind === 'throughput') report.throughput.push(finding.row);
            else if (finding.kind === 'latency') report.latency.push(finding.row);
            else report.skipped.push(finding.row);
          };
          const measured = async (): Promise<void> => {
            after = await gpuStates();
            report.configurations.push({ ...report.configurations.pop()!, gpus: after });
          };
          try {
            await measureApart(request, { signal, tell, measured });
          } catch (error) {
            // Hours of a sweep must not go with one of its configurations.
            if (
              !(error instanceof SightlineError) ||
              error.code === 'ABORTED' ||
              report.throughput.length + report.latency.length === 0
            ) {
              throw error;
            }
            report.skipped.push({
              model: model.label,
              device,
              dtype,
              job: null,
              batch: null,
              concurrency: null,
              code: error.code,
              reason: error.message,
            });
          }
        }
      }
    }
  } finally {
    if (scratch !== null) await rm(scratch, { recursive: true, force: true });
  }
  if (report.throughput.length + report.latency.length === 0) {
    throw new SightlineError(
      (report.skipped[0]?.code as ErrorCode | undefined) ?? 'INVALID_OPTION',
      `Nothing could be measured: ${report.skipped[0]?.reason ?? 'no job was left'}`,
    );
  }
  return {
    format: REPORT_FORMAT,
    date: date.toISOString(),
    seconds: (performance.now() - started) / 1000,
    machine: { ...machine, capability: capability!, load: { start: loadAtStart, end: load() } },
    gpus: { before, after },
    versions: { sightline: packageVersion(), commit: await commitOf(), libtorch: libtorch!, node: process.version },
    options: {
      rounds: asked.rounds,
      warmup: asked.warmup,
      seed: asked.seed,
      images: asked.images === undefined ? null : files.length,
    },
    ...report,
  };
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

/**
 * Models by short names: the archive's without folder and extension, so that runs elsewhere compare; in full where two
 * share one.
 */
async function namedModels(models: readonly string[]): Promise<{ label: string; nameOrPath: string }[]> {
  // Refuses what is not there before anything is measured.
  await Promise.all(models.map((model) => locateModel(model)));
  const short = models.map(shortName);
  return models.map((nameOrPath, i) => ({
    nameOrPath,
    label: short.filter((name) => name === short[i]).length > 1 ? nameOrPath : short[i]!,
  }));
}

const PICTURES = new Set(['.jpg', '.jpeg', '.png', '.webp', '.avif', '.gif', '.tif', '.tiff']);

async function picturesIn(folder: string): Promise<string[]> {
  let names: string[];
  try {
    if (!(await stat(folder)).isDirectory()) {
      throw new SightlineError('NOT_A_FILE', `${folder} is no folder; give a folder of pictures.`);
    }
    names = await readdir(folder);
  } catch (cause) {
    if (cause instanceof SightlineError) throw cause;
    throw new SightlineError('FILE_NOT_FOUND', `There is no folder ${folder}; give a folder of pictures.`, { cause });
  }
  const pictures = names.filter((name) => PICTURES.has(extname(name).toLowerCase())).sort();
  if (pictures.length === 0) {
    throw new SightlineError(
      'FILE_NOT_FOUND',
      `${folder} holds no picture; give a folder of JPEG, PNG, WebP, AVIF, GIF or TIFF files.`,
    );
  }
  return pictures.map((name) => join(folder, name));
}
