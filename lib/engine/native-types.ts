import type { ExportedProgram } from './exported-program.js';
import type { Inspection } from './inspection.js';
import type { Operation } from './operations.js';
import type { PlanDescription } from './plan-description.js';
import type { WeightPlan } from './weight-plan.js';

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
  /** [channels, height, width] */
  readonly tensor?: Float32Array;
}

export interface NativePreprocessing {
  readonly resizedWidth: number;
  readonly resizedHeight: number;
  readonly left: number;
  readonly top: number;
  readonly interpolation: 'bilinear' | 'bicubic';
  /** Of red, green and blue; of gray all three are the same. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly channels: 'rgb' | 'bgr' | 'gray';
}

/** Where along one axis each output pixel reads: grid lines `low` and `high`, mixed with the share `mix` of `high`. */
export interface AxisTaps {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly mix: Float32Array;
}

/** A heatmap's colors over a picture. */
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
  /** The value of color 0, and colors per unit of value. */
  readonly smallest: number;
  readonly stretch: number;
  /** 256 x RGB. */
  readonly colours: Uint8Array;
  /** 65,536: what a color (high byte) over a pixel (low byte) becomes. */
  readonly mixtures: Uint8Array;
}

/** A float32 tensor in JavaScript memory, row-major. */
export interface Tensor {
  /** Row-major. */
  readonly data: Float32Array;
  /** Length of each axis. */
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
  /** Models that are open. */
  readonly models: number;
  /** Bytes of their weights. */
  readonly weightBytes: number;
  /** Images that wait. */
  readonly queued: number;
  /** Images that are being computed. */
  readonly running: number;
  /** Images that were finished. */
  readonly completed: number;
  /** Images that failed or were aborted. */
  readonly failed: number;
  /** Batches that the finished images made. */
  readonly batches: number;
  /** Batches that were too large for the device's memory, and were run as two. */
  readonly halvedBatches: number;
  /** Runs that were captured as CUDA graphs. */
  readonly graphsCaptured: number;
  /** Runs that replayed one. */
  readonly graphsReplayed: number;
  /** Plans that could not be captured. */
  readonly graphsRefused: number;
}

/** The memory that LibTorch's allocator holds on a GPU, in bytes. */
export interface DeviceMemory {
  /** In tensors now. */
  readonly allocated: number;
  /** In tensors at most since the last reset. */
  readonly peak: number;
  /** Taken from the driver: tensors and what is kept for later ones. */
  readonly reserved: number;
}

/** Versions and abilities of the LibTorch that is loaded. */
export interface NativeVersions {
  /** Such as `2.13.0`. */
  readonly libtorch: string;
  /** The instructions that LibTorch's kernels use, such as `AVX2`. */
  readonly cpuCapability: string;
  /** LibTorch's threads on the CPU. */
  readonly threads: number;
  /** How many CUDA GPUs there are. */
  readonly cudaDevices: number;
  /** Whether the addon was built with CUDA graphs. */
  readonly cudaGraphs: boolean;
}

/** How parameters are shuffled: those of all, or of the modules named. */
export interface Shuffling {
  readonly seed: number;
  /** Paths of modules; none for all parameters. */
  readonly layers: readonly string[];
}

export interface NativeBinding {
  /**
   * `file`: where the archive is read from, if not by `path`, which names it in messages. `trusted`: any operator may
   * run, for as long as it likes. `program`: in place of an archive. `shuffling`: the numbers within each
   * parameter are shuffled, or within those of some modules. `remarks`: what is odd about the weights, as sentences.
   */
  load(options: {
    path: string;
    file?: string;
    device: string;
    dtype: string;
    optimize: boolean;
    cudaGraphs?: boolean;
    weights?: WeightPlan;
    program?: ExportedProgram;
    trusted?: boolean;
    output?: string;
    scores?: string;
    channels?: number;
    isChannelsLast?: boolean;
    shuffling?: Shuffling;
  }): Promise<{ handle: NativeModel; device: string; weightBytes: number; remarks: readonly string[] }>;
  /** `output`: the one that is explained, by name; left out for the one that was chosen when the model was loaded. */
  inspect(model: NativeModel, height: number, width: number, output?: string): Promise<Inspection>;
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
    options: { maxQueue: number; maxBatch: number; maxDelay: number; client: string },
  ): Promise<NativeResult>[];
  close(model: NativeModel): Promise<void>;
  stats(): NativeStats;
  /** Null on the CPU. The peak is read before it is reset. */
  deviceMemory?(device: string, resetPeak: boolean): DeviceMemory | null;
  versions(): NativeVersions;
  /** The names of devices that another library has put into LibTorch's place for third parties, such as `npu:0`. */
  otherDevices(): readonly string[];
  setThreads(count: number): void;
  /** As many threads at most, unless a number was set before, here or by another thread of this process. */
  limitThreads(count: number): void;
  /** Paints into `picture` on a thread of libuv's pool; nobody may touch it, or any other array given, until then. */
  paint(painting: NativePainting): Promise<void>;
  stop(): void;
  /** Limits this process for good; what became of the limits of memory and files. */
  fence(limits: { addressBytes: number; processorSeconds: number }): { memory: boolean; files: boolean };
}
