import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

import { binding } from '../engine/binding.js';
import type { Model } from '../model/model.js';

/** Parts of a request, by the names that KServe's metrics have. */
export type Stage = 'preprocess' | 'predict' | 'explain' | 'postprocess';

const STAGES: readonly Stage[] = ['preprocess', 'predict', 'explain', 'postprocess'];
/** Seconds. A tiny model answers in 2 ms, RISE on a large one in minutes. */
const BUCKETS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What a service reads when it is asked for its metrics. */
export interface Observed {
  readonly inFlight: () => number;
  readonly models: () => readonly Model[];
}

/** The figures of one service, in a registry of its own, so that several services of a process do not mix. */
export class Metrics {
  private readonly registry = new Registry();
  private readonly stages: Readonly<Record<Stage, Histogram<'model_name'>>>;
  private readonly requests: Counter<'route' | 'status'>;
  private readonly errors: Counter<'code'>;
  private readonly seconds: Histogram<'route'>;

  constructor({ inFlight, models }: Observed, processMetrics: boolean) {
    const registers = [this.registry];
    const stage = (name: Stage): Histogram<'model_name'> =>
      new Histogram({
        name: `request_${name}_seconds`,
        help: `Seconds that requests spent in ${name}.`,
        labelNames: ['model_name'],
        buckets: BUCKETS,
        registers,
      });
    this.stages = Object.fromEntries(STAGES.map((name) => [name, stage(name)])) as Metrics['stages'];
    this.requests = new Counter({
      name: 'sightline_requests_total',
      help: 'Requests that were answered, by route and HTTP status.',
      labelNames: ['route', 'status'],
      registers,
    });
    this.errors = new Counter({
      name: 'sightline_errors_total',
      help: 'Requests that were refused or failed, by code.',
      labelNames: ['code'],
      registers,
    });
    this.seconds = new Histogram({
      name: 'sightline_request_seconds',
      help: 'Seconds from the arrival of a request to its answer.',
      labelNames: ['route'],
      buckets: BUCKETS,
      registers,
    });
    this.gauge('sightline_requests_in_flight', 'Requests that are read, decoded, wait or run.', inFlight);
    const engine = (
      [
        ['queued', 'sightline_images_queued', 'Images that wait for a device.'],
        ['running', 'sightline_images_running', 'Images that are being computed.'],
        ['completed', 'sightline_images_completed', 'Images that were computed since the process started.'],
        ['failed', 'sightline_images_failed', 'Images that failed or were aborted since the process started.'],
        ['batches', 'sightline_batches', 'Batches that the computed images made; images / batches is their mean size.'],
        ['weightBytes', 'sightline_weight_bytes', 'Bytes of the weights of all open models.'],
      ] as const
    ).map(([field, name, help]) => ({ field, name, help }));
    for (const { field, name, help } of engine) this.gauge(name, help, () => binding().stats()[field]);
    this.addDeviceMemory(models);
    if (processMetrics) collectDefaultMetrics({ register: this.registry });
  }

  observe(stage: Stage, model: string, seconds: number): void {
    this.stages[stage].observe({ model_name: model }, seconds);
  }

  answered(route: string, status: number, code: string | null, seconds: number): void {
    this.requests.inc({ route, status: String(status) });
    this.seconds.observe({ route }, seconds);
    if (code !== null) this.errors.inc({ code });
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  private gauge(name: string, help: string, read: () => number): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      registers: [this.registry],
      collect: () => gauge.set(read()),
    });
  }

  private addDeviceMemory(models: () => readonly Model[]): void {
    const gauge: Gauge<'device' | 'kind'> = new Gauge({
      name: 'sightline_device_memory_bytes',
      help: "Memory that LibTorch's allocator holds on each GPU.",
      labelNames: ['device', 'kind'],
      registers: [this.registry],
      collect: () => {
        for (const device of new Set(models().flatMap((model) => model.device.split(',')))) {
          // The CPU does not count.
          const memory = device === 'cpu' ? null : (binding().deviceMemory?.(device, false) ?? null);
          if (memory === null) continue;
          for (const kind of ['allocated', 'reserved', 'peak'] as const) gauge.set({ device, kind }, memory[kind]);
        }
      },
    });
  }
}
