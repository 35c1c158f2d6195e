import { checkArchive, DEFAULT_MAX_BYTES } from '../archives/check.js';
import { checkProgram } from '../archives/exported/check.js';
import type { ImageSizes } from '../archives/exported/sizes.js';
import { probeArchive, type IsolateOptions } from '../archives/isolation.js';
import { binding, fromNative, settled } from '../engine/binding.js';
import { SCORE_KINDS, type ScoreKind } from '../engine/inspection.js';
import type { NativeBinding, NativeModel, Shuffling } from '../engine/native-types.js';
import { MAX_PIXELS } from '../images/source.js';
import type { ModelCard } from '../models/card.js';
import { verifyHash } from '../models/file-hash.js';
import { setThreads } from '../engine/threads.js';
import { outputOption } from '../requests/question.js';
import { throwIfAborted } from '../support/abort.js';
import { SightlineError } from '../support/errors.js';
import { parseOptions } from '../support/options.js';
import { z } from 'zod';
import { locateModel, type LocatedModel } from './locate.js';
import { DevicePool, namedDevices } from './pool.js';
import type { DecodeLimits, QueueSettings } from './submission.js';

/** How a model is loaded: `Model.load`. */
export interface LoadOptions {
  /**
   * `auto` (default) takes the first CUDA GPU if there is one, else the CPU; `model.device` says which. `cuda:all`, or
   * a list such as `['cuda:0', 'cuda:1']`, loads the model on each of the GPUs, which then share the work.
   */
  readonly device?: 'auto' | 'cpu' | 'cuda' | `cuda:${number}` | 'cuda:all' | readonly `cuda:${number}`[] | undefined;
  /** Of weights and activations. Explanation maths runs in float32 whatever this is. Default `f32`. */
  readonly dtype?: 'f32' | 'bf16' | 'f16' | undefined;
  /**
   * Whether the graph is tuned: batch norms folded into convolutions, weights packed, tokens that nobody reads left
   * out. Answers stay what they are to rounding. `false` runs it operator for operator as it was exported; gradients
   * that algebra knows are still not computed. Default true.
   */
  readonly optimize?: boolean | undefined;
  /**
   * As `setThreads`, once the model was found: 1 to 1,024 threads of LibTorch on the CPU, for the whole process and not
   * for this model alone. Default: the number stays what it is.
   */
  readonly threads?: number | undefined;
  /**
   * The output that is explained, of a model that returns several: a dict's key or a place, such as `1`. Default the
   * card's.
   */
  readonly output?: string | number | undefined;
  /** The kind of its numbers, where the graph does not tell. Default the card's, else as `inspect().scores` says. */
  readonly scores?: ScoreKind | undefined;
  /** Path of a model card, or the card itself. Default: the `NAME.json` beside `NAME.pt`, or the pulled model's. */
  readonly card?: string | ModelCard | undefined;
  /** Branch, tag or commit of a model that was pulled, as `name@revision`. Default the catalog's, else `main`. */
  readonly revision?: string | undefined;
  /** Most images in one batch: 1 to 4,096. Default 8 on the CPU, 32 on CUDA. */
  readonly maxBatch?: number | undefined;
  /**
   * How long a batch that is not full waits for more images, in milliseconds: 0 to 60,000. Default 0: it takes only
   * those that wait already.
   */
  readonly maxDelay?: number | undefined;
  /**
   * Whether runs that repeat in the same shape become CUDA graphs, where the addon was built with them. Default true.
   */
  readonly cudaGraphs?: boolean | undefined;
  /** Most images that may wait on a device: 1 to 1,000,000. More are refused with QUEUE_FULL. Default 1024. */
  readonly maxQueue?: number | undefined;
  /**
   * Lets an archive run code that image classifiers do not need, such as unknown operators and endless loops:
   * TorchScript is a program. Damaged archives are refused all the same. Default false.
   */
  readonly trust?: boolean | undefined;
  /**
   * Opens an archive in a process of its own first, limited in time and memory: a filter and a fence, not a sandbox.
   * Checkpoints have no code to be afraid of, and are not probed. Default false.
   */
  readonly isolate?: boolean | IsolateOptions | undefined;
  /** Largest archive, in bytes: 1 or more. Default 16 GiB. */
  readonly maxArchiveBytes?: number | undefined;
  /**
   * Most pixels of an image: 1 or more. Larger images are refused before they are decoded. Default 268,402,689
   * (16,383 x 16,383).
   */
  readonly maxPixels?: number | undefined;
  /** Whether SVG drawings are rendered: a few bytes of one can keep a processor busy for minutes. Default false. */
  readonly svg?: boolean | undefined;
  /**
   * Whether strings and `file:` URLs are paths of images that are read. `false` takes bytes only: a server that hands
   * on what its users send then neither reads its own disk for them nor tells what is on it. Default true.
   */
  readonly imageFiles?: boolean | undefined;
  /**
   * Aborting rejects with ABORTED at once. A step of loading that has begun runs to its end in the background; what it
   * loaded is then freed. Default none.
   */
  readonly signal?: AbortSignal | undefined;
}

const loadSchema = z.strictObject({
  device: z
    .union([z.string(), z.array(z.string())], 'expected the name of a device, or a list of GPUs')
    .default('auto'),
  dtype: z.enum(['f32', 'bf16', 'f16']).default('f32'),
  optimize: z.boolean().default(true),
  threads: z.int().min(1).max(1024).optional(),
  output: outputOption.optional(),
  scores: z.enum(SCORE_KINDS).optional(),
  card: z.union([z.string(), z.looseObject({})]).optional(),
  revision: z.string().min(1).optional(),
  maxBatch: z.int().min(1).max(4096).optional(),
  maxDelay: z.number().min(0).max(60_000).default(0),
  maxQueue: z.int().min(1).max(1_000_000).default(1024),
  cudaGraphs: z.boolean().default(true),
  trust: z.boolean().default(false),
  isolate: z
    .union(
      [
        z.boolean(),
        z.strictObject({
          seconds: z.number().min(1).max(86_400).optional(),
          megabytes: z.number().min(64).max(1_048_576).optional(),
        }),
      ],
      'expected true, false, or { seconds, megabytes }',
    )
    .default(false),
  maxArchiveBytes: z.int().min(1).default(DEFAULT_MAX_BYTES),
  maxPixels: z.int().min(1).default(MAX_PIXELS),
  svg: z.boolean().default(false),
  imageFiles: z.boolean().default(true),
  signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional(),
});

export type LoadSettings = z.output<typeof loadSchema>;

/** A model on its devices, and how it is to be used. */
export interface LoadedModel {
  readonly pool: DevicePool<NativeModel>;
  /** Absolute path of the archive, or of the checkpoint's first file. */
  readonly path: string;
  /** On all devices together. */
  readonly weightBytes: number;
  /** The given one, or that beside the archive. */
  readonly card: ModelCard | null;
  /** What is odd or was assumed, as sentences. */
  readonly notes: readonly string[];
  readonly queue: QueueSettings;
  readonly limits: DecodeLimits;
  /** Which images a program of torch.export, or a skeleton, is for; null where the graph itself is to tell. */
  readonly sizes: ImageSizes | null;
  /** Whether the output and what its numbers are were said, and not found in the graph. */
  readonly isChosen: { readonly output: boolean; readonly scores: boolean };
}

/** @throws SightlineError INVALID_OPTION */
export function parseLoadOptions(options: LoadOptions): LoadSettings {
  return parseOptions(loadSchema, options, 'Model.load');
}

/**
 * Finds a model, checks it, and loads it on the devices asked for.
 *
 * @param shuffling how the numbers within parameters are shuffled; null leaves them as they are
 */
export async function loadModel(
  nameOrPath: string,
  settings: LoadSettings,
  shuffling: Shuffling | null,
): Promise<LoadedModel> {
  if (typeof nameOrPath !== 'string') {
    throw new SightlineError('INVALID_OPTION', 'Model.load takes the name of a model or the path of an archive.');
  }
  const { device, threads, maxBatch, maxQueue, maxDelay, maxPixels, svg, imageFiles, signal } = settings;
  throwIfAborted(signal);
  const found = await locateModel(nameOrPath, settings.card as LoadOptions['card'], settings.revision);
  const { card, path } = found;
  throwIfAborted(signal);
  if (threads !== undefined) setThreads(threads);
  const output = settings.output ?? card?.output;
  const scores = settings.scores ?? card?.scores;
  const { loaded, sizes } = await loadChecked(found, settings, {
    ...imagesOf(card),
    ...(output !== undefined && { output: String(output) }),
    ...(scores !== undefined && { scores }),
    ...(shuffling !== null && { shuffling }),
  });
  const pool = new DevicePool(loaded);
  const notes = [...found.notes, ...loaded[0]!.remarks.map((remark) => `${path}: ${remark}`)];
  if (device === 'auto' && pool.device === 'cpu') notes.push('No CUDA GPU was found, so the model runs on the CPU.');
  return {
    pool,
    path,
    weightBytes: loaded.reduce((sum, each) => sum + each.weightBytes, 0),
    card,
    notes,
    queue: { maxBatch: maxBatch ?? (pool.device === 'cpu' ? 8 : 32), maxDelay, maxQueue },
    limits: { maxPixels, svg, imageFiles },
    sizes,
    isChosen: { output: output !== undefined, scores: scores !== undefined },
  };
}

/** What is said of a model, and not found in its graph. */
interface Chosen {
  readonly shuffling?: Shuffling;
  readonly output?: string;
  readonly scores?: ScoreKind;
  readonly channels?: number;
  readonly isChannelsLast?: boolean;
}

/** What a card says of the images. */
function imagesOf(card: ModelCard | null): Chosen {
  if (card === null) return {};
  const { channels, layout } = card.input;
  return {
    ...(channels !== undefined && { channels }),
    ...(layout !== undefined && { isChannelsLast: layout === 'channels-last' }),
  };
}

/** What a program says of its images, where the card does not. */
function axesOf({ channels, isChannelsLast }: ImageSizes, chosen: Chosen): Chosen {
  return {
    ...(chosen.channels === undefined && channels !== null && { channels }),
    ...(chosen.isChannelsLast === undefined && { isChannelsLast }),
  };
}

type Loaded = Awaited<ReturnType<NativeBinding['load']>>;

/** Checks the archive, and loads what was checked, though another file may have its name by now. */
async function loadChecked(
  found: LocatedModel,
  settings: LoadSettings,
  chosen: Chosen,
): Promise<{ readonly loaded: Loaded[]; readonly sizes: ImageSizes | null }> {
  const { archive, card, weights } = found;
  const { device, dtype, optimize, cudaGraphs, trust, isolate, maxArchiveBytes, signal } = settings;
  const native = binding();
  // What came with the package, and has the hash that its card gives, is our own.
  const isOwn = found.bundled && found.sha256 !== undefined;
  if (isOwn) await verifyHash(archive, found);
  const program = found.isProgram ? await checkProgram(archive, maxArchiveBytes) : null;
  const checked = program ?? (isOwn ? null : await checkArchive(archive, { trust, maxBytes: maxArchiveBytes }));
  const file = checked?.source ?? archive;
  try {
    if (checked !== null) await verifyHash(archive, found, file);
    throwIfAborted(signal);
    // A checkpoint is numbers, and its graph is our own.
    if (isolate !== false && weights === null) {
      await probeArchive(
        { path: archive, dtype, optimize, trust, maxArchiveBytes, input: card?.input ?? null },
        isolate === true ? {} : isolate,
        signal,
      );
    }
    throwIfAborted(signal);
    // Weights have no say in what loading does, so their checksums are compared meanwhile; a hash proves them already.
    const verified = found.sha256 === undefined ? checked?.verifyWeights() : found.verify?.();
    verified?.catch(() => undefined);
    const loaded = await loadOn(
      namedDevices(
        device,
        () => native.versions().cudaDevices,
        () => native.otherDevices(),
      ),
      (name) =>
        native.load({
          path: archive,
          file,
          device: name,
          dtype,
          optimize,
          cudaGraphs,
          trusted: trust || isOwn,
          ...chosen,
          ...(weights && { weights }),
          ...(program && { program: program.program, ...axesOf(program.sizes, chosen) }),
        }),
    );
    try {
      await verified;
    } catch (error) {
      await Promise.all(loaded.map(({ handle }) => settled(native.close(handle))));
      throw error;
    }
    return { loaded, sizes: program?.sizes ?? found.sizes };
  } finally {
    await checked?.close();
  }
}

/** Loads on every device, or on none. */
async function loadOn<Loaded extends { readonly handle: NativeModel }>(
  devices: readonly string[],
  load: (device: string) => Promise<Loaded>,
): Promise<Loaded[]> {
  // Each in a function of its own, since the addon refuses a device by throwing at once.
  const outcomes = await Promise.allSettled(devices.map(async (device) => load(device)));
  const loaded = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed === undefined) return loaded;
  await Promise.all(loaded.map(({ handle }) => settled(binding().close(handle))));
  throw fromNative(failed.reason);
}
