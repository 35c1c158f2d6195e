import { readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

import { chooseAddon, loadAddon } from '../scripts/addon.mjs';
import { SightlineError, type ErrorCode } from './errors.js';
import type { AxisTaps } from './images/heat.js';
import type { WeightPlan } from './weights/assignments.js';
import type { Inspection } from './inspection.js';
import type { Operation } from './symbolic/operations.js';
import type { PlanDescription } from './symbolic/plan.js';

/** Handles of native objects. Opaque: the addon checks their kind. */
export type NativeModel = { readonly __kind: 'model' };
export type NativePlan = { readonly __kind: 'plan' };
export type NativeToken = { readonly __kind: 'token' };

/** One image for the engine: pixels with their preprocessing, or a finished tensor. */
export interface NativeRequest {
  readonly label: string;
  readonly height: number;
  readonly width: number;
  /** Class indices; -r for the class of rank r by score. */
  readonly targets: readonly number[];
  /** For each target the class whose score is subtracted, or null. */
  readonly against: readonly (number | null)[];
  /** Tensors that the plan's `given` steps read, batch axis (1) first. */
  readonly given?: Readonly<Record<string, Tensor>>;
  /** RGB [sourceHeight, sourceWidth, 3]; like `tensor` read by the engine while it works, so nobody may write to it. */
  readonly pixels?: Uint8Array;
  readonly sourceHeight?: number;
  readonly sourceWidth?: number;
  readonly preprocessing?: NativePreprocessing;
  /** [3, height, width] */
  readonly tensor?: Float32Array;
}

export interface NativePreprocessing {
  readonly resizedWidth: number;
  readonly resizedHeight: number;
  readonly left: number;
  readonly top: number;
  readonly interpolation: 'bilinear' | 'bicubic';
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** A heatmap's colours over a picture. */
export interface NativePainting {
  /** RGB, row-major, `width` pixels wide. */
  readonly picture: Uint8Array;
  readonly width: number;
  /** Row-major, `columns` wide. */
  readonly map: Float32Array;
  readonly columns: number;
  /** Where each column and each row of the picture reads the map. */
  readonly across: AxisTaps;
  readonly down: AxisTaps;
  /** The pixels to paint: [top, bottom) x [left, right). */
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  /** The value of colour 0, and colours per unit of value. */
  readonly smallest: number;
  readonly stretch: number;
  /** 256 x RGB. */
  readonly colours: Uint8Array;
  /** 65,536: what a colour (high byte) over a pixel (low byte) becomes. */
  readonly mixtures: Uint8Array;
}

/** A float32 tensor in JavaScript memory, row-major. */
export interface Tensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

export interface NativeResult {
  /** By the plan's names, without the batch axis; [targets, ...] where they depend on the target. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly targets: readonly number[];
  /** The class that was subtracted from each target; -1 for none. */
  readonly against: readonly number[];
  readonly operators: number;
  /** Samples per run of the model in the largest loop; 0 without one. */
  readonly chunk: number;
  readonly batch: number;
}

/** Counters of the whole process. */
export interface NativeStats {
  /** Models that are open, and the bytes of their weights. */
  readonly models: number;
  readonly weightBytes: number;
  /** Images that wait, that are being computed, that were finished, that failed or were aborted. */
  readonly queued: number;
  readonly running: number;
  readonly completed: number;
  readonly failed: number;
  /** Batches that the finished images made. */
  readonly batches: number;
  /** Batches that were too large for the device's memory, and were run as two. */
  readonly halvedBatches: number;
  /** CUDA graphs: runs that were captured, runs that replayed one, and plans that could not be captured. */
  readonly graphsCaptured: number;
  readonly graphsReplayed: number;
  readonly graphsRefused: number;
}

/** What LibTorch's allocator holds on a GPU, in bytes. */
export interface DeviceMemory {
  /** In tensors now. */
  readonly allocated: number;
  /** In tensors at most since the last reset. */
  readonly peak: number;
  /** Taken from the driver: tensors and what is kept for later ones. */
  readonly reserved: number;
}

export interface NativeVersions {
  readonly libtorch: string;
  readonly cpuCapability: string;
  readonly threads: number;
  readonly cudaDevices: number;
  /** Whether the addon was built with CUDA graphs. */
  readonly cudaGraphs: boolean;
}

export interface NativeBinding {
  /** `file`: where the archive is read from, if not by `path`, which names it in messages. `trusted`: any operator may run, for as long as it likes. `remarks`: what is odd about the weights, as sentences. */
  load(options: { path: string; file?: string; device: string; dtype: string; optimize: boolean; cudaGraphs?: boolean; weights?: WeightPlan; trusted?: boolean; output?: string; scores?: string }): Promise<{ handle: NativeModel; device: string; weightBytes: number; remarks: readonly string[] }>;
  inspect(model: NativeModel, height: number, width: number): Promise<Inspection>;
  plan(description: PlanDescription): NativePlan;
  /** The engine's table of steps, which `OPERATIONS` repeats. */
  operations(): Readonly<Record<string, Operation>>;
  token(): NativeToken;
  /** What of the token's requests still waits is rejected at once; what is computed at the engine's next look. */
  cancel(token: NativeToken): void;
  /** How many images wait in the queue of the model's device, of all models there. */
  waiting(model: NativeModel): number;
  run(
    model: NativeModel,
    plan: NativePlan,
    token: NativeToken,
    requests: readonly NativeRequest[],
    options: { maxQueue: number; maxBatch: number; maxDelay: number },
  ): Promise<NativeResult>[];
  close(model: NativeModel): Promise<void>;
  stats(): NativeStats;
  /** Null on the CPU. The peak is read before it is reset. */
  deviceMemory?(device: string, resetPeak: boolean): DeviceMemory | null;
  versions(): NativeVersions;
  setThreads(count: number): void;
  /** Paints into `picture` on a thread of libuv's pool; nobody may touch it, or any other array given, until then. */
  paint(painting: NativePainting): Promise<void>;
  stop(): void;
  /** Limits this process for good; what became of the limits of memory and files. */
  fence(limits: { addressBytes: number; processorSeconds: number }): { memory: boolean; files: boolean };
}

let loaded: NativeBinding | null = null;

/**
 * The addon, loaded on first use.
 *
 * @throws SightlineError NATIVE_MISSING when there is no LibTorch, or no addon for it.
 */
export function binding(): NativeBinding {
  if (loaded) return loaded;
  // GNU OpenMP's threads spin while they wait. Where other work wants the cores as well, that spinning takes the time of
  // the thread that is waited for, and runs become ten times slower. Read once, when the library is loaded.
  process.env['GOMP_SPINCOUNT'] ??= '1000';
  try {
    loaded = loadAddon(chooseAddon()) as NativeBinding;
  } catch (cause) {
    // Its sentences say what to run; anything else is a fault of ours.
    if (!(cause instanceof Error) || cause.name !== 'SetupError') throw cause;
    throw new SightlineError('NATIVE_MISSING', cause.message, { cause });
  }
  // LibTorch work that still runs while the process unloads crashes it, and process.exit() skips Node's cleanup hooks on
  // the main thread: 'exit' is what both ways out have in common. Before all other handlers, since one that calls
  // process.exit() itself ends the process on the spot, and those after it are never run.
  if (isMainThread) process.prependOnceListener('exit', () => loaded?.stop());
  return loaded;
}

/** Rejections of the addon as SightlineErrors. */
export async function settled<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw fromNative(error);
  }
}

/** What the addon throws as a SightlineError; whatever else it is passes unchanged. */
export function fromNative(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof SightlineError || !('code' in error)) return error;
  const { code, message, libtorch } = error as Error & { code: ErrorCode; libtorch?: string };
  return new SightlineError(code, code === 'STEP_FAILED' ? withSourcePlaces(message) : message, {
    cause: error,
    ...(libtorch !== undefined && { details: { libtorch } }),
  });
}

/** Lines of compiled methods as lines of their TypeScript: what a reader of the message has in front of them. */
function withSourcePlaces(message: string): string {
  return message.replace(/\(((?:file:\/\/)?[^\s()]+):(\d+):(\d+)\)/g, (whole, file: string, line: string, column: string) => {
    const path = file.startsWith('file:') ? fileURLToPath(file) : file;
    try {
      const map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8')) as SourceMapPayload);
      const entry = map.findEntry(Number(line) - 1, Number(column) - 1);
      if ('originalSource' in entry) {
        const source = fileURLToPath(new URL(entry.originalSource, `file://${path}`));
        return `(${relative(process.cwd(), source)}:${entry.originalLine + 1})`;
      }
    } catch {
      // A method of the user's own, without a source map: its own line is the right one.
    }
    return whole.startsWith('(file:') ? `(${relative(process.cwd(), path)}:${line})` : whole;
  });
}
