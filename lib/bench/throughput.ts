import type { MethodName } from '../methods/index.js';
import type { NamedOptions } from '../requests/explain.js';
import { plainForward } from './forward.js';
import { describe, meterFor, skip, type Measurement } from './measurement.js';
import { randomImages } from './random.js';
import { FORWARD } from './report.js';
import { runInterleaved, type Job } from './rounds.js';
import { figureOf, median, percentile, ratiosWithinRounds } from './statistics.js';

interface CallSample {
  readonly milliseconds: number;
  readonly operators: number | null;
}

/** Batches of one size: the plain forward pass, the captures and the methods, in turns. */
export async function measureThroughput(measurement: Measurement & { readonly batch: number }): Promise<void> {
  const { request, subject, model, inspection, batch, tell } = measurement;
  const { height, width } = inspection;
  const place = { batch, concurrency: null };
  const images = randomImages(batch, height, width, request.seed);
  const forward = plainForward(model);
  const calls: [string, () => Promise<unknown>][] = [[FORWARD, () => forward(images)]];
  for (const [name, options] of measurement.captures) calls.push([name, () => model.capture(images, options)]);
  for (const { label, options } of measurement.methods) {
    calls.push([label, () => model.explain(images, options as NamedOptions<MethodName>)]);
  }

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
      const operators =
        typeof result === 'object' && result !== null && 'operators' in result ? Number(result.operators) : null;
      return { milliseconds, operators: name === FORWARD ? inspection.operators : operators };
    },
  }));
  try {
    const { samples, first } = await runInterleaved(jobs, request, {
      failed: ({ name }, error) => skip(measurement, { job: name, ...place }, error),
      round: (number, of) =>
        tell({ kind: 'progress', line: `${describe(subject)}, batch ${batch}: round ${number} of ${of}` }),
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
          milliseconds: {
            median: median(all),
            min: Math.min(...all),
            p95: percentile(all, 0.95),
            first: first.get(job)!.milliseconds,
            all,
          },
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
