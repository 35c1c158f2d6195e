import { join } from 'node:path';

import { binding } from '../engine/binding.js';
import type { TensorInput } from '../images/inputs.js';
import type { MethodName } from '../methods/index.js';
import type { NamedOptions } from '../requests/explain.js';
import { closedLoop, type LoopSample } from './closed-loop.js';
import { plainForward } from './forward.js';
import { describe, meterFor, skip, type Measurement } from './measurement.js';
import { randomImages } from './random.js';
import { FORWARD, type Latency } from './report.js';
import { runInterleaved, type Job } from './rounds.js';
import { figureOf, percentile, ratiosWithinRounds } from './statistics.js';

/** Inputs of the closed loops, so that not every request is the same. */
const POOL = 16;

interface RoundSample extends LoopSample {
  readonly images: number;
  readonly batches: number;
}

/** Single images asked for by several callers at once: the plain forward pass and the methods, in turns. */
export async function measureLatency(measurement: Measurement & { readonly concurrency: number }): Promise<void> {
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
    loops.push({
      name: label,
      job: label,
      source: 'tensors',
      ask: (number) => model.explain(pool[number % POOL]!, asked),
    });
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
    const { samples } = await runInterleaved(jobs, request, {
      failed: ({ name }, error) => skip(measurement, { job: name, ...place }, error),
      round: (number, of) =>
        tell({ kind: 'progress', line: `${describe(subject)}, ${concurrency} concurrent: round ${number} of ${of}` }),
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
          milliseconds: {
            p50: percentile(latencies, 0.5),
            p95: percentile(latencies, 0.95),
            p99: percentile(latencies, 0.99),
            min: percentile(latencies, 0),
            max: percentile(latencies, 1),
          },
          imagesPerSecond: figureOf(durations(name).map((milliseconds) => (1000 * requests) / milliseconds)),
          ratio: figureOf(ratiosWithinRounds(durations(name), durations(FORWARD))),
          shareOfTensors:
            source === 'files' && samples.has(job)
              ? figureOf(ratiosWithinRounds(durations(job), durations(name)))
              : null,
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
