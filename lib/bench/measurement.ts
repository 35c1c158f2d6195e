import { binding } from '../engine/binding.js';
import type { ModelInspection } from '../model/inspections.js';
import type { Model } from '../model/model.js';
import type { CaptureOptions } from '../requests/capture.js';
import { SightlineError } from '../support/errors.js';
import type { ConfigurationRequest, Tell } from './configuration-request.js';
import { MemoryMeter } from './memory.js';
import type { MethodRequest } from './method-request.js';
import type { Throughput } from './report.js';

/** What the sweep goes on after. Whatever else fails is a mistake in the request, or ours. */
const SKIPPED = new Set(['OUT_OF_MEMORY', 'STEP_FAILED']);
/** What may apply to another model of the sweep. */
const FOREIGN = new Set(['METHOD_NOT_APPLICABLE', 'UNKNOWN_NODE', 'UNKNOWN_TARGET']);

/** What is measured, by its names in the report. */
export type Subject = Pick<Throughput, 'model' | 'device' | 'dtype'>;

/** A loaded model and what is asked of it. */
export interface Measurement {
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

/** Notes a job that failed where the sweep goes on without it, and rethrows where it does not. */
export function skip(
  { request, subject, tell }: Measurement,
  place: { job: string; batch: number | null; concurrency: number | null },
  error: unknown,
): void {
  if (
    !(error instanceof SightlineError) ||
    !(SKIPPED.has(error.code) || (request.isOneOfMany && FOREIGN.has(error.code)))
  ) {
    throw error;
  }
  tell({ kind: 'skipped', row: { ...subject, ...place, code: error.code, reason: error.message } });
}

export function meterFor({ model: { device }, loaded }: Measurement): MemoryMeter {
  const native = binding();
  return new MemoryMeter(
    loaded,
    native.deviceMemory === undefined || device === 'cpu'
      ? null
      : (resetPeak) => native.deviceMemory!(device, resetPeak),
  );
}

export function describe({ model, device, dtype }: Subject): string {
  return `${model} on ${device}, ${dtype}`;
}
