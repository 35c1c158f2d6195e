import type { LoadOptions } from '../model/load.js';
import type { MethodRequest } from './method-request.js';
import type { Configuration, Latency, Skipped, Throughput } from './report.js';

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

/** A finding that is reported while a configuration is measured. */
export type Finding =
  | {
      readonly kind: 'loaded';
      readonly configuration: Omit<Configuration, 'gpus'>;
      readonly libtorch: string;
      readonly capability: string;
    }
  | { readonly kind: 'throughput'; readonly row: Throughput }
  | { readonly kind: 'latency'; readonly row: Latency }
  | { readonly kind: 'skipped'; readonly row: Skipped }
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'progress'; readonly line: string };

/** Takes what is found, as it is found. */
export type Tell = (finding: Finding) => void;
