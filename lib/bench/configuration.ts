import { join } from 'node:path';

import { binding } from '../engine/binding.js';
import type { CaptureOptions } from '../requests/capture.js';
import { SightlineError } from '../support/errors.js';
import type { NamedOptions } from '../requests/explain.js';
import type { TensorInput } from '../images/inputs.js';
import type { MethodName } from '../methods/index.js';
import type { LoadOptions } from '../model/load.js';
import type { ModelInspection } from '../model/inspections.js';
import { Model } from '../model/model.js';
import { closedLoop, type LoopSample } from './closed-loop.js';
import { plainForward } from './forward.js';
import { MemoryMeter, residentMemory } from './memory.js';
import type { MethodRequest } from './method-request.js';
import { randomImages } from './random.js';
import { FORWARD, type Configuration, type Latency, type Skipped, type Throughput } from './report.js';
import { runInTurns, type Job } from './rounds.js';
import { figureOf, median, percentile, ratiosWithinRounds } from './statistics.js';

/** One model on one device in one dtype, and everything that is measured of it. Plain data: it is sent to a process. */
export interface ConfigurationRequest {
  readonly model: { readonly label: string; readonly nameOrPath: string };
  readonly device: NonNullable<LoadOptions['device']>;
  readonly dtype: NonNullable<LoadOptions['dtype']>;
  readonly threads: number | null;
  /** Side of square inputs; null for the model's own size. */
  readonly size: number | null;
  readonly methods: readonly MethodRequest[];
  readonly captures: readonly string[];
  /** Whether there are other models, so that what does not apply to this one is no mistake. */
  readonly isOneOfMany: boolean;
  /** Whether the methods were named, rather than tried for want of names. */
  readonly areMethodsNamed: boolean;
  readonly batches: readonly number[];
  readonly concurrency: readonly number[];
  readonly rounds: number;
  readonly warmup: number;
  readonly requests: number | null;
  readonly maxBatch: number | null;
  readonly maxDelay: number;
  /** Pictures to go from file to overlay; empty for ready tensors only. */
  readonly files: readonly string[];
  /** The folder for the overlays, where there are files. */
  readonly scratch: string | null;
  readonly seed: number;
}

/** What is told while a configuration is measured. */
export type Finding =
  | { readonly kind: 'loaded'; readonly configuration: Omit<Configuration, 'gpus'>; readonly libtorch: string; readonly capability: string }
  | { readonly kind: 'throughput'; readonly row: Throughput }
  | { readonly kind: 'latency'; readonly row: Latency }
  | { readonly kind: 'skipped'; readonly row: Skipped }
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'progress'; readonly line: string };

type Tell = (finding: Finding) => void;

/** Inputs of the closed loops, so that not every request is the same. */
const POOL = 16;

/** Images that may wait in the engine beyond those that are measured; the queue must not refuse any. */
const QUEUE_MARGIN = 1024;

/** What the sweep goes on after. Whatever else fails is a mistake in the request, or ours. */
const SKIPPED = new Set(['OUT_OF_MEMORY', 'STEP_FAILED']);
/** What may apply to another model of the sweep. */
const FOREIGN = new Set(['METHOD_NOT_APPLICABLE', 'UNKNOWN_NODE', 'UNKNOWN_TARGET']);

/**
 * Measures one configuration in this process, which should do nothing else.
 *
 * @throws SightlineError as `Model.load` and `explain` do
 */
export async function measureConfiguration(request: ConfigurationRequest, tell: Tell): Promise<void> {
  const start = performance.now();
  let model = await loadModel(request, request.batches.length > 0 ? Math.max(...request.batches) : request.maxBatch);
  const loadMilliseconds = performance.now() - start;
  try {
    for (const sentence of model.notes) tell({ kind: 'note', sentence });
    const inspection = await inspectAt(model, request, tell);
    const { libtorch, cpuCapability, threads } = binding().versions();
    const subject = { model: request.model.label, device: model.device, dtype: request.dtype };
    const { height, width } = inspection;
    let loaded = residentMemory().resident;
    tell({
      kind: 'loaded',
      configuration: { ...subject, path: model.path, height, width, threads, weightBytes: model.weightBytes, loadMilliseconds, residentBytes: loaded },
      libtorch,
      capability: cpuCapability,
    });

    const shared = { request, subject, inspection, tell, methods: applicable(request, subject, inspection, tell), captures: capturesOf(request, subject, inspection, tell) };
    for (const batch of request.batches) await measureThroughput({ ...shared, model, loaded, batch });
    if (request.concurrency.length > 0) {
      if (request.batches.length > 0) {
        // The batches that concurrent requests make are those of a server, not the largest of the sweep.
        await model.close();
        model = await loadModel(request, request.maxBatch);
        await model.inspect({ height, width });
        loaded = residentMemory().resident;
      }
      for (const concurrency of request.concurrency) await measureLatency({ ...shared, model, loaded, concurrency });
    }
  } finally {
    await model.close();
  }
}

type Subject = Pick<Throughput, 'model' | 'device' | 'dtype'>;

interface Measurement {
  readonly request: ConfigurationRequest;
  readonly subject: Subject;
  readonly model: Model;
  readonly inspection: ModelInspection;
  readonly methods: readonly MethodRequest[];
  readonly captures: readonly (readonly [job: string, CaptureOptions])[];
  /** Resident bytes before the first job. */
  readonly loaded: number | null;
  readonly tell: Tell;
}

function loadModel({ model, device, dtype, threads, batches, concurrency, maxDelay }: ConfigurationRequest, maxBatch: number | null): Promise<Model> {
  return Model.load(model.nameOrPath, {
    device,
    dtype,
    ...(threads !== null && { threads }),
    ...(maxBatch !== null && { maxBatch }),
    maxDelay,
    maxQueue: QUEUE_MARGIN + Math.max(...batches, ...concurrency),
  });
}

/** The asked-for size where the model takes it, else its own. */
async function inspectAt(model: Model, { size, model: { label } }: ConfigurationRequest, tell: Tell): Promise<ModelInspection> {
  if (size === null) return model.inspect();
  try {
    return await model.inspect({ height: size, width: size });
  } catch (error) {
    if (!(error instanceof SightlineError) || error.code !== 'INVALID_INPUT') throw error;
    const own = await model.inspect();
    tell({ kind: 'note', sentence: `${label} does not take images of ${size} x ${size}; it is measured at its own ${own.width} x ${own.height}.` });
    return own;
  }
}

/** The methods that apply; of others that were named it is said why they do not. */
function applicable({ methods, areMethodsNamed, isOneOfMany }: ConfigurationRequest, subject: Subject, inspection: ModelInspection, tell: Tell): readonly MethodRequest[] {
  return methods.filter(({ label, options }) => {
    const { applies, reason } = inspection.methods.find(({ name }) => name === options.method)!;
    if (applies || !areMethodsNamed) return applies;
    const error = new SightlineError('METHOD_NOT_APPLICABLE', `${label} does not apply to ${subject.model}: ${reason}.`);
    if (!isOneOfMany) throw error;
    tell({ kind: 'skipped', row: { ...subject, job: label, batch: null, concurrency: null, code: error.code, reason: error.message } });
    return false;
  });
}

/** What is to be captured, by the jobs' names. `attention`: of all sites; `50%`: the node half way through the model; else a node by its name. */
function capturesOf({ captures }: ConfigurationRequest, subject: Subject, { nodes, attention }: ModelInspection, tell: Tell): readonly (readonly [string, CaptureOptions])[] {
  return captures.flatMap((node): (readonly [string, CaptureOptions])[] => {
    const job = `capture ${node}`;
    const share = /^(\d+(?:\.\d+)?)%$/.exec(node)?.[1];
    if (share !== undefined) return [[job, { features: [nodes[Math.min(nodes.length - 1, Math.floor((nodes.length * Number(share)) / 100))]!.name] }]];
    if (node !== 'attention') return [[job, { features: [node] }]];
    if (attention.length > 0) return [[job, { attention: 'all' }]];
    tell({ kind: 'skipped', row: { ...subject, job, batch: null, concurrency: null, code: 'METHOD_NOT_APPLICABLE', reason: `${subject.model} has no attention to capture.` } });
    return [];
  });
}

/** Notes a job that failed where the sweep goes on without it, and rethrows where it does not. */
function skip({ request, subject, tell }: Measurement, place: { job: string; batch: number | null; concurrency: number | null }, error: unknown): void {
  if (!(error instanceof SightlineError) || !(SKIPPED.has(error.code) || (request.isOneOfMany && FOREIGN.has(error.code)))) throw error;
  tell({ kind: 'skipped', row: { ...subject, ...place, code: error.code, reason: error.message } });
}

function meterFor({ model: { device }, loaded }: Measurement): MemoryMeter {
  const native = binding();
  return new MemoryMeter(loaded, native.deviceMemory === undefined || device === 'cpu' ? null : (resetPeak) => native.deviceMemory!(device, resetPeak));
}

interface CallSample {
  readonly milliseconds: number;
  readonly operators: number | null;
}

/** Batches of one size: the plain forward pass, the captures and the methods, in turns. */
async function measureThroughput(measurement: Measurement & { readonly batch: number }): Promise<void> {
  const { request, subject, model, inspection, batch, tell } = measurement;
  const { height, width } = inspection;
  const place = { batch, concurrency: null };
  const images = randomImages(batch, height, width, request.seed);
  const forward = plainForward(model);
  const calls: [string, () => Promise<unknown>][] = [[FORWARD, () => forward(images)]];
  for (const [name, options] of measurement.captures) calls.push([name, () => model.capture(images, options)]);
  for (const { label, options } of measurement.methods) calls.push([label, () => model.explain(images, options as NamedOptions<MethodName>)]);

  const meters = new Map(calls.map(([name]) => [name, meterFor(measurement)]));
  const jobs = calls.map(([name, call]): Job<CallSample> => ({
    name,
    run: async (isWarmUp) => {
      const meter = isWarmUp ? null : meters.get(name)!;
      meter?.begin();
      const start = performance.now();
      const result = await call();
      const milliseconds = performance.now() - start;
      meter?.end();
      const operators = typeof result === 'object' && result !== null && 'operators' in result ? Number(result.operators) : null;
      return { milliseconds, operators: name === FORWARD ? inspection.operators : operators };
    },
  }));
  try {
    const { samples, first } = await runInTurns(jobs, request, {
      failed: ({ name }, error) => skip(measurement, { job: name, ...place }, error),
      round: (number, of) => tell({ kind: 'progress', line: `${describe(subject)}, batch ${batch}: round ${number} of ${of}` }),
    });
    const times = new Map([...samples].map(([name, all]) => [name, all.map(({ milliseconds }) => milliseconds)]));
    for (const [job, all] of times) {
      tell({
        kind: 'throughput',
        row: {
          ...subject,
          job,
          batch,
          height,
          width,
          operators: first.get(job)!.operators,
          milliseconds: { median: median(all), min: Math.min(...all), p95: percentile(all, 0.95), first: first.get(job)!.milliseconds, all },
          imagesPerSecond: figureOf(all.map((time) => (1000 * batch) / time)),
          ratio: figureOf(ratiosWithinRounds(all, times.get(FORWARD)!)),
          memory: meters.get(job)!.peaks(),
        },
      });
    }
  } catch (error) {
    skip(measurement, { job: FORWARD, ...place }, error);
  }
}

interface RoundSample extends LoopSample {
  readonly images: number;
  readonly batches: number;
}

/** Single images asked for by several callers at once: the plain forward pass and the methods, in turns. */
async function measureLatency(measurement: Measurement & { readonly concurrency: number }): Promise<void> {
  const { request, subject, model, inspection, concurrency, tell } = measurement;
  const { height, width } = inspection;
  const place = { batch: null, concurrency };
  const requests = Math.max(concurrency, request.requests ?? Math.max(16, 4 * concurrency));
  const pool = Array.from({ length: POOL }, (_, i): TensorInput => randomImages(1, height, width, request.seed + i));
  const forward = plainForward(model);
  const loops: { name: string; job: string; source: Latency['source']; ask: (number: number) => Promise<unknown> }[] = [
    { name: FORWARD, job: FORWARD, source: 'tensors', ask: (number) => forward(pool[number % POOL]!) },
  ];
  for (const [index, { label, options }] of measurement.methods.entries()) {
    const asked = options as NamedOptions<MethodName>;
    loops.push({ name: label, job: label, source: 'tensors', ask: (number) => model.explain(pool[number % POOL]!, asked) });
    const { files, scratch } = request;
    if (scratch === null) continue;
    const ask = async (number: number): Promise<void> => {
      const [explanation] = await model.explain(files[number % files.length]!, asked);
      await explanation!.maps[0]!.overlay().toFile(join(scratch, `${index}-${number}.png`));
    };
    loops.push({ name: `${label} of files`, job: label, source: 'files', ask });
  }

  const meters = new Map(loops.map(({ name }) => [name, meterFor(measurement)]));
  const jobs = loops.map(({ name, ask }): Job<RoundSample> => ({
    name,
    run: async (isWarmUp) => {
      const meter = isWarmUp ? null : meters.get(name)!;
      meter?.begin();
      const before = binding().stats();
      // Each caller's first request warms up what the others need as well.
      const sample = await closedLoop({ concurrency, requests: isWarmUp ? Math.max(4, concurrency) : requests }, ask);
      const after = binding().stats();
      meter?.end();
      return { ...sample, images: after.completed - before.completed, batches: after.batches - before.batches };
    },
  }));
  try {
    const { samples } = await runInTurns(jobs, request, {
      failed: ({ name }, error) => skip(measurement, { job: name, ...place }, error),
      round: (number, of) => tell({ kind: 'progress', line: `${describe(subject)}, ${concurrency} concurrent: round ${number} of ${of}` }),
    });
    const durations = (name: string): number[] => samples.get(name)!.map(({ milliseconds }) => milliseconds);
    for (const { name, job, source } of loops) {
      const all = samples.get(name);
      if (all === undefined) continue;
      const latencies = all.flatMap((sample) => sample.latencies);
      const sum = (of: (sample: RoundSample) => number): number => all.reduce((total, sample) => total + of(sample), 0);
      tell({
        kind: 'latency',
        row: {
          ...subject,
          job,
          source,
          concurrency,
          height,
          width,
          requests,
          milliseconds: { p50: percentile(latencies, 0.5), p95: percentile(latencies, 0.95), p99: percentile(latencies, 0.99), min: percentile(latencies, 0), max: percentile(latencies, 1) },
          imagesPerSecond: figureOf(durations(name).map((milliseconds) => (1000 * requests) / milliseconds)),
          ratio: figureOf(ratiosWithinRounds(durations(name), durations(FORWARD))),
          shareOfTensors: source === 'files' && samples.has(job) ? figureOf(ratiosWithinRounds(durations(job), durations(name))) : null,
          meanBatch: sum(({ images }) => images) / sum(({ batches }) => batches),
          maxBatch: request.maxBatch,
          maxDelay: request.maxDelay,
          memory: meters.get(name)!.peaks(),
        },
      });
    }
  } catch (error) {
    skip(measurement, { job: FORWARD, ...place }, error);
  }
}

function describe({ model, device, dtype }: Subject): string {
  return `${model} on ${device}, ${dtype}`;
}
