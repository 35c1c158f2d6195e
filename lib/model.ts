import { readFile } from 'node:fs/promises';

import { abortedBy, onAbort, throwIfAborted, untilAborted } from './abort.js';
import { parseAttentionMapOptions, readAttentionMaps, recordAttentionMaps, type AttentionMap, type AttentionMapOptions } from './attention-maps.js';
import { checkArchive, DEFAULT_MAX_BYTES } from './archives/check.js';
import { probeArchive, type IsolateOptions } from './archives/isolation.js';
import { binding, fromNative, settled, type NativeModel, type NativePlan, type NativeResult } from './binding.js';
import { parseCaptureOptions, readCapture, recordCapture, type Capture, type CaptureOptions } from './capture.js';
import { asyncDispose } from './dispose.js';
import { SightlineError } from './errors.js';
import {
  applicability,
  namesMethod,
  parseExplainOptions,
  readExplanations,
  recordExplanations,
  shared,
  type CustomOptions,
  type Explanation,
  type NamedExplanation,
  type NamedOptions,
  type UnnamedOptions,
} from './explain.js';
import { MAX_PIXELS } from './images/source.js';
import { isTensorInput, prepareInput, splitInput, type Input, type PreparedInput } from './inputs.js';
import { SCORE_KINDS, type Applicability, type Inspection, type ScoreKind } from './inspection.js';
import { KeptPlans } from './kept-plans.js';
import { maximize, parseMaximizeOptions, type Maximized, type MaximizeOptions } from './maximize.js';
import type { MethodName } from './methods/index.js';
import { preferredMethod } from './methods/preferred.js';
import { defaultCard, parseCard, resolveLabels, verifyHash, type ModelCard } from './models/card.js';
import { locateModel } from './models/locate.js';
import { parsePredictOptions, readPrediction, recordPrediction, type Predicted, type PredictOptions } from './predict.js';
import type { PlanDescription } from './symbolic/plan.js';
import { parseOptions } from './options.js';
import { identityOf, keyOf } from './plan-keys.js';
import { DevicePool, namedDevices } from './pool.js';
import { queueFull, takePlaces, type Queue } from './queue-places.js';
import { ambiguityOf, resolveTargets, type ResolvedTarget, type Target } from './targets.js';
import { z } from 'zod';

export interface LoadOptions {
  /**
   * `auto` (default) takes the first CUDA GPU if there is one, else the CPU; `model.device` says which. `cuda:all`, or a
   * list such as `['cuda:0', 'cuda:1']`, loads the model on each of the GPUs, which then share the work.
   */
  readonly device?: 'auto' | 'cpu' | 'cuda' | `cuda:${number}` | 'cuda:all' | readonly `cuda:${number}`[] | undefined;
  /** Of weights and activations. Explanation maths runs in float32 whatever this is. Default `f32`. */
  readonly dtype?: 'f32' | 'bf16' | 'f16' | undefined;
  /**
   * Whether the graph is tuned: batch norms folded into convolutions, weights packed, tokens that nobody reads left out.
   * Answers stay what they are to rounding. `false` runs it operator for operator as it was exported; gradients that algebra
   * knows are still not computed. Default true.
   */
  readonly optimize?: boolean | undefined;
  /** LibTorch's threads on the CPU, for the whole process. Default: all cores. */
  readonly threads?: number | undefined;
  /** The output that is explained, of a model that returns several: a dict's key or a place, such as `1`. Default the card's. */
  readonly output?: string | number | undefined;
  /** What its numbers are, where the graph does not tell. Default the card's, else as `inspect().scores` says. */
  readonly scores?: ScoreKind | undefined;
  /** Path of a model card, or the card itself. Default: the `NAME.json` beside `NAME.pt`, or the pulled model's. */
  readonly card?: string | ModelCard | undefined;
  /** Most images in one batch. Default 8 on the CPU, 32 on CUDA. */
  readonly maxBatch?: number | undefined;
  /** Milliseconds to wait for more images before a batch that is not full runs. Default 0: only those that wait already. */
  readonly maxDelay?: number | undefined;
  /** Whether runs that repeat in the same shape become CUDA graphs, where the addon was built with them. Default true. */
  readonly cudaGraphs?: boolean | undefined;
  /** Most images that may wait on a device; more are refused with QUEUE_FULL. Default 1024. */
  readonly maxQueue?: number | undefined;
  /**
   * Lets an archive run code that image classifiers do not need, such as unknown operators and endless loops: TorchScript is
   * a program. Damaged archives are refused all the same. Default false.
   */
  readonly trust?: boolean | undefined;
  /**
   * Opens an archive in a process of its own first, limited in time and memory: a filter and a fence, not a sandbox. Checkpoints
   * have no code to be afraid of, and are not probed. Default false.
   */
  readonly isolate?: boolean | IsolateOptions | undefined;
  /** Largest archive, in bytes. Default 16 GiB. */
  readonly maxArchiveBytes?: number | undefined;
  /** Most pixels of an image; larger ones are refused before they are decoded. Default 268,402,689 (16,383 x 16,383). */
  readonly maxPixels?: number | undefined;
  /** Whether SVG drawings are rendered: a few bytes of one can keep a processor busy for minutes. Default false. */
  readonly svg?: boolean | undefined;
  /**
   * Whether strings and `file:` URLs are paths of images that are read. `false` takes bytes only: a server that hands on what its
   * users send then neither reads its own disk for them nor tells what is on it. Default true.
   */
  readonly imageFiles?: boolean | undefined;
}

/** What of an image is refused before it is decoded. */
interface DecodeLimits {
  readonly maxPixels: number;
  readonly svg: boolean;
  readonly imageFiles: boolean;
}

/** Images of one call that are decoded and run together. */
interface Window {
  readonly inputs: readonly PreparedInput[];
  /** Of the call's images, the number of its first. */
  readonly first: number;
  /** The call's images. */
  readonly total: number;
  /** Plans that no other call could know. */
  readonly ownPlans: KeptPlans;
  /** Gives up the places that were kept for it in the queue, once it is there itself. */
  readonly admitted: () => void;
}

const loadSchema = z.strictObject({
  device: z.union([z.string(), z.array(z.string())], 'expected the name of a device, or a list of GPUs').default('auto'),
  dtype: z.enum(['f32', 'bf16', 'f16']).default('f32'),
  optimize: z.boolean().default(true),
  threads: z.int().min(1).max(1024).optional(),
  output: z.union([z.string().min(1), z.int().min(0)], "expected an output's name or place").optional(),
  scores: z.enum(SCORE_KINDS).optional(),
  card: z.union([z.string(), z.looseObject({})]).optional(),
  maxBatch: z.int().min(1).max(4096).optional(),
  maxDelay: z.number().min(0).max(60_000).default(0),
  maxQueue: z.int().min(1).max(1_000_000).default(1024),
  cudaGraphs: z.boolean().default(true),
  trust: z.boolean().default(false),
  isolate: z.union([z.boolean(), z.strictObject({ seconds: z.number().min(1).max(86_400).optional(), megabytes: z.number().min(64).max(1_048_576).optional() })], 'expected true, false, or { seconds, megabytes }').default(false),
  maxArchiveBytes: z.int().min(1).default(DEFAULT_MAX_BYTES),
  maxPixels: z.int().min(1).default(MAX_PIXELS),
  svg: z.boolean().default(false),
  imageFiles: z.boolean().default(true),
});

const KEPT_INSPECTIONS = 64;

/** What `inspect` tells. */
export interface ModelInspection extends Inspection {
  /** Every method, and why it does not apply where it does not. */
  readonly methods: readonly Applicability[];
}

/** Sizes that archives without a card are tried at, most usual first. */
const USUAL_SIZES = [224, 256, 384, 299, 288, 240, 320, 448, 518, 336, 192, 160, 128, 96, 64, 32];

/**
 * A TorchScript classifier, ready to explain.
 *
 * All work runs on the device's own thread; requests that wait are gathered into batches. Close a model, or declare it
 * with `await using`, to free its memory at a known moment.
 */
export class Model {
  private inFlight = 0;
  private closing: Promise<void> | null = null;
  private idle: (() => void) | null = null;
  private readonly inspections = new Map<string, Promise<Inspection>>();
  private readonly plans = new KeptPlans();
  private standard: { card: ModelCard; labels: readonly string[] } | null = null;
  /** Why the first usual size did not do, where none did. */
  private refusal: SightlineError | null = null;

  private constructor(
    private readonly pool: DevicePool<NativeModel>,
    /** Absolute path of the archive, or of the checkpoint's first file. */
    readonly path: string,
    /** Where it runs: `cpu`, `cuda:0`, `cuda:0,cuda:1`, ... */
    readonly device: string,
    /** Bytes of its weights, on all its devices together. */
    readonly weightBytes: number,
    private readonly givenCard: ModelCard | null,
    /** What was assumed for lack of better knowledge, such as preprocessing without a card; sentences for people. */
    readonly notes: string[],
    private readonly queue: { maxBatch: number; maxDelay: number; maxQueue: number },
    private readonly limits: DecodeLimits,
    private readonly choice: { readonly output?: string | number | undefined; readonly scores?: ScoreKind | undefined },
  ) {}

  /**
   * Loads an archive, or a checkpoint into a graph that ships with sightline. Fetches nothing.
   *
   * @param nameOrPath a bundled model (`vit-tiny-shapes`), a model that was pulled (`vit_base_patch16_224`, `org/name`), or
   * the path of a TorchScript archive or of a safetensors checkpoint
   * @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE, UNKNOWN_MODEL, NOT_PULLED, INVALID_WEIGHTS, NOT_TORCHSCRIPT,
   * UNTRUSTED_ARCHIVE, UNSUPPORTED_MODEL, INVALID_CARD, INVALID_OPTION, DEVICE_UNAVAILABLE, OUT_OF_MEMORY, NATIVE_MISSING;
   * with `isolate` ARCHIVE_CRASHED, ARCHIVE_TIMED_OUT and PROCESS_NOT_STARTED
   */
  static async load(nameOrPath: string, options: LoadOptions = {}): Promise<Model> {
    if (typeof nameOrPath !== 'string') throw new SightlineError('INVALID_OPTION', 'Model.load takes the name of a model or the path of an archive.');
    const { device, dtype, optimize, threads, maxBatch, maxQueue, maxDelay, cudaGraphs, card: givenCard, output, scores, trust, isolate, maxArchiveBytes, maxPixels, svg, imageFiles } = parseOptions(loadSchema, options, 'Model.load');
    const found = await locateModel(nameOrPath, await readGivenCard(givenCard as LoadOptions['card']));
    const notes: string[] = [];
    const { card } = found;
    const native = binding();
    if (threads !== undefined) native.setThreads(threads);
    // What came with the package, and has the hash that its card gives, is our own.
    const isOwn = found.bundled && found.sha256 !== undefined;
    if (isOwn) await verifyHash(found.archive, found);
    const checked = isOwn ? null : await checkArchive(found.archive, { trust, maxBytes: maxArchiveBytes });
    // What was checked is what is loaded, though another file may have its name by now.
    const file = checked?.source ?? found.archive;
    const choice = { output: output ?? card?.output, scores: scores ?? card?.scores };
    const chosen = { ...(choice.output !== undefined && { output: String(choice.output) }), ...(choice.scores !== undefined && { scores: choice.scores }) };
    let loaded: Awaited<ReturnType<typeof native.load>>[];
    try {
      if (checked !== null) await verifyHash(found.archive, found, file);
      // A checkpoint is numbers, and its graph is our own.
      if (isolate !== false && found.weights === null) {
        await probeArchive({ path: found.archive, dtype, optimize, trust, maxArchiveBytes, input: card?.input ?? null }, isolate === true ? {} : isolate);
      }
      // Weights have no say in what loading does, so their checksums are compared meanwhile; a hash has told already.
      const verified = found.sha256 === undefined ? checked?.verifyWeights() : undefined;
      verified?.catch(() => undefined);
      loaded = await loadOn(namedDevices(device, () => native.versions().cudaDevices), (name) => native.load({ path: found.archive, file, device: name, dtype, optimize, cudaGraphs, trusted: trust || isOwn, ...chosen, ...(found.weights && { weights: found.weights }) }));
      try {
        await verified;
      } catch (error) {
        await Promise.all(loaded.map(({ handle }) => settled(native.close(handle))));
        throw error;
      }
    } finally {
      await checked?.close();
    }
    notes.push(...loaded[0]!.remarks.map((remark) => `${found.path}: ${remark}`));
    const pool = new DevicePool(loaded);
    if (device === 'auto' && pool.device === 'cpu') notes.push('No CUDA GPU was found, so the model runs on the CPU.');
    const weightBytes = loaded.reduce((sum, each) => sum + each.weightBytes, 0);
    const model = new Model(pool, found.path, pool.device, weightBytes, card, notes, {
      maxBatch: maxBatch ?? (pool.device === 'cpu' ? 8 : 32),
      maxDelay,
      maxQueue,
    }, { maxPixels, svg, imageFiles }, choice);
    try {
      await model.standardise();
      await model.remark();
      await model.warmUp();
    } catch (error) {
      await model.close();
      throw error;
    }
    return model;
  }

  /** The card in force: the given one, that beside the archive, or ImageNet's defaults at a size that the model takes. */
  get card(): ModelCard {
    return this.standardCard().card;
  }

  /** The label of each class. */
  get labels(): readonly string[] {
    return this.standardCard().labels;
  }

  /**
   * What the model consists of: nodes, attention, token grid, head, and which methods apply.
   *
   * @param size of the images; default the card's
   */
  async inspect(size?: { readonly height: number; readonly width: number }): Promise<ModelInspection> {
    this.checkOpen();
    const { height, width } = size ?? this.card.input;
    for (const side of [height, width]) {
      if (!Number.isSafeInteger(side) || side < 1 || side > 16384) throw new SightlineError('INVALID_OPTION', `inspect takes a height and a width in whole pixels from 1 to 16384, not ${String(height)} and ${String(width)}.`);
    }
    const inspection = await this.inspectAt(height, width);
    return { ...inspection, methods: applicability(inspection) };
  }

  /**
   * Classifies images: one plain forward pass, nothing tapped.
   *
   * @throws SightlineError as `explain`
   */
  async predict(images: Input | readonly Input[], options: PredictOptions = {}): Promise<Predicted[]> {
    const { top, signal } = parsePredictOptions(options);
    return this.process(images, { signal }, (window) =>
      this.submit(
        window,
        () => [],
        signal,
        keyOf(['predict', top]),
        (inspection) => recordPrediction(top, inspection),
        (result, input) => readPrediction(result, input, this.labels),
      ),
    );
  }

  /**
   * Explains images: predictions, and one map per image and target.
   *
   * @param images paths, encoded bytes, raw pixels, sharp instances, or tensors [N, 3, H, W] that are taken as they are
   * @throws SightlineError INVALID_OPTION, INVALID_IMAGE, INVALID_INPUT, UNKNOWN_TARGET, UNKNOWN_NODE,
   * METHOD_NOT_APPLICABLE, QUEUE_FULL, MODEL_CLOSED, ABORTED, OUT_OF_MEMORY, STEP_FAILED
   */
  async explain<M extends MethodName>(images: Input | readonly Input[], options: NamedOptions<M>): Promise<NamedExplanation<M>[]>;
  async explain<Schema extends z.ZodType>(images: Input | readonly Input[], options: CustomOptions<Schema>): Promise<Explanation<string, z.output<Schema>, string | null>[]>;
  /**
   * By several methods at once, which share what they have in common: the forward pass, and the backward pass of those that
   * read gradients of the same score. All explain the same targets. For each image a list, one explanation per method.
   */
  async explain<const Several extends readonly NamedOptions<MethodName>[]>(
    images: Input | readonly Input[],
    options: Several,
  ): Promise<{ -readonly [K in keyof Several]: NamedExplanation<Several[K]['method']> }[]>;
  /** By the method that suits the model: CAM where it pools into one linear layer, else attention rollout, else Grad-CAM. */
  async explain(images: Input | readonly Input[], options?: UnnamedOptions): Promise<Explanation[]>;
  async explain(images: Input | readonly Input[], given: object = {}): Promise<Explanation<string, unknown>[] | Explanation<string, unknown>[][]> {
    const options = namesMethod(given) ? given : { ...given, method: preferredMethod(await this.inspect(), this.card.name) };
    const isSeveral = Array.isArray(options);
    const requests = (isSeveral ? (options as object[]) : [options]).map(parseExplainOptions);
    const { targets: asked, signal, maxPixels } = shared(requests);
    // A model that scores no classes has nothing to predict: only a score of the user's own, or no class at all, is explained.
    const targets = asked ?? (this.standard !== null && this.labels.length === 0 ? [] : ['top1']);
    const isPerImage = targets.some(Array.isArray);
    if (isPerImage && !targets.every(Array.isArray)) throw new SightlineError('INVALID_OPTION', 'Targets are either one list for all images or one list per image, not a mixture.');
    // A method or score of the user's own is told from others by which object it is.
    const key = keyOf(['explain', ...requests.map(({ method, settings, layers, layering, common }) => [method.name, identityOf(method), settings, layers, layering, { ...common, targets: undefined, signal: undefined, maxPixels: undefined }])]);

    const explained = await this.process(images, { signal, maxPixels }, async (window) => {
      const { first, total } = window;
      const perImage = isPerImage ? (targets as readonly Target[][]).map((each) => resolveTargets(each, this.labels)) : null;
      const forAll = isPerImage ? null : asked === undefined && targets.length === 0 ? [] : resolveTargets(targets as readonly Target[], this.labels);
      if (perImage && perImage.length !== total) {
        throw new SightlineError('INVALID_OPTION', `There are ${perImage.length} lists of targets for ${total} images; give one for each, or one list for all.`);
      }
      return this.submit(
        window,
        (i) => perImage?.[first + i] ?? forAll!,
        signal,
        key,
        (inspection) => recordExplanations(requests, inspection, this.card),
        (result, input, inspection) => readExplanations(requests, result, input, inspection, this.card, this.labels),
      );
    });
    return isSeveral ? explained : explained.map(([only]) => only!);
  }

  /**
   * Reads features, attention, queries, keys, values and their gradients out of the model. What lies behind the last
   * tap is not run.
   *
   * @throws SightlineError as `explain`
   */
  async capture(images: Input | readonly Input[], options: CaptureOptions): Promise<Capture> {
    const parsed = parseCaptureOptions(options);
    const { signal, ...key } = parsed;
    const results = await this.process(images, { signal }, async (window) => {
      const targets = parsed.gradients ? resolveTargets([parsed.gradients.target], this.labels) : [];
      if (targets.length > 1) throw new SightlineError('INVALID_OPTION', 'capture takes the gradient of one class; ask for a class index, a label or top1.');
      return this.submit(window, () => targets, signal, keyOf(['capture', key]), (inspection) => recordCapture(parsed, inspection), (result) => result);
    });
    return readCapture(results);
  }

  /** Class-token attention per block and head, or queries, keys and values per channel, as maps over the patches. */
  async attention(image: Input, options: AttentionMapOptions = {}): Promise<AttentionMap[]> {
    const request = parseAttentionMapOptions(options);
    const { signal, ...key } = request;
    if (splitInput(image, 'image-0').length > 1) throw new SightlineError('INVALID_INPUT', 'attention takes one image; give it a tensor of one.');
    const [maps] = await this.process(image, { signal }, (window) =>
      this.submit(
        window,
        () => [],
        signal,
        keyOf(['attention', key]),
        (inspection) => recordAttentionMaps(request, inspection),
        (result, _, inspection) => readAttentionMaps(request, inspection, result),
      ),
    );
    return maps!;
  }

  /**
   * Makes an image that maximises a class's score, a channel, a unit, a token, a head's attention, or a channel of its
   * queries, keys or values.
   *
   * @throws SightlineError INVALID_OPTION, UNKNOWN_NODE, UNKNOWN_TARGET, METHOD_NOT_APPLICABLE, QUEUE_FULL, MODEL_CLOSED,
   * ABORTED, OUT_OF_MEMORY, STEP_FAILED
   */
  async maximize(options: MaximizeOptions): Promise<Maximized> {
    const request = parseMaximizeOptions(options);
    this.checkOpen();
    return this.counted(async () => {
      const { card, labels } = this.standardCard();
      const inspection = await untilAborted(this.inspectAt(card.input.height, card.input.width), request.signal);
      const ownPlans = new KeptPlans();
      return maximize(request, {
        inspection,
        card,
        labels,
        run: async (input, key, record) => (await this.submit({ inputs: [input], first: 0, total: 1, ownPlans, admitted: () => undefined }, () => [], request.signal, key, record, (result) => result))[0]!,
      });
    });
  }

  /** Waits for the work in flight, then frees the model. Calling it again gives the same promise. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      if (this.inFlight > 0) await new Promise<void>((resolve) => (this.idle = resolve));
      this.plans.clear();
      await Promise.all(this.pool.members.map(({ handle }) => settled(binding().close(handle))));
    })();
    return this.closing;
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  private standardCard(): { card: ModelCard; labels: readonly string[] } {
    if (this.standard === null) {
      throw new SightlineError('UNSUPPORTED_MODEL', `${this.path} runs on no usual image size; write a model card beside it that gives its input size, or pass tensors. ${this.refusal?.message ?? ''}`.trim(), {
        cause: this.refusal,
      });
    }
    return this.standard;
  }

  /** Finds the card, the size and the labels in force, and warms the model up at that size. */
  private async standardise(): Promise<void> {
    if (this.givenCard) {
      const { height, width } = this.givenCard.input;
      const { classes, scores } = await this.inspectAt(height, width);
      this.standard = { card: this.givenCard, labels: await resolveLabels(this.givenCard, classes, scores) };
      return;
    }
    let refusal: unknown;
    for (const size of USUAL_SIZES) {
      try {
        const { classes, scores } = await this.inspectAt(size, size);
        const card = defaultCard(this.path, size, size);
        this.standard = { card, labels: await resolveLabels(card, classes, scores) };
        this.notes.push(
          `There is no model card beside ${this.path}, so ImageNet's preprocessing is assumed: ${size} x ${size}, bilinear, centre crop of a shorter side of ${String(card.input.resize.size)}.`,
        );
        return;
      } catch (error) {
        if (!(error instanceof SightlineError) || error.code !== 'INVALID_INPUT') throw error;
        refusal ??= error;
      }
    }
    this.refusal = refusal as SightlineError;
  }

  /** Notes what is peculiar about the archive. */
  private async remark(): Promise<void> {
    if (this.standard === null) return;
    const ambiguity = ambiguityOf(this.labels);
    if (ambiguity !== null) this.notes.push(ambiguity);
    const { wasTraining, canBatch, imagesInteract, outputs, output, scores, activation } = await this.inspectAt(this.standard.card.input.height, this.standard.card.input.width);
    if (wasTraining) this.notes.push(`${this.path} was exported in training mode; it is run in inference mode. Call .eval() before exporting.`);
    if (outputs.length > 1 && this.choice.output === undefined) {
      this.notes.push(`${this.path} returns ${outputs.map(({ name, shape }) => `${name} (${['N', ...shape.slice(1)].join(' x ')})`).join(', ')}; "${output}" is explained. Choose another by the option \`output\`.`);
    }
    if (scores === 'yes-or-no' && activation === null && this.choice.scores === undefined) {
      this.notes.push(`${this.path} returns one number, taken for a yes-or-no logit: its score is the sigmoid. If it is a value, say so by \`scores: 'value'\`.`);
    }
    if (activation !== null) this.notes.push(`${this.path} ends in ${activation.replace('_', ' ')}: its scores are taken as they are, and class-specific methods explain the logit before it.`);
    if (imagesInteract) {
      this.notes.push(`${this.path} gives an image other values beside another image than alone (statistics or a scale are taken over the batch), so images are run one by one.`);
    } else if (!canBatch) this.notes.push(`${this.path} has the shapes of one image written into it, so images are run one by one. Export it with a batch axis of any size.`);
  }

  /** One prediction on every device: weights are packed and kernels are chosen before the first request, not by it. */
  private async warmUp(): Promise<void> {
    if (this.standard === null) return;
    const { height, width } = this.standard.card.input;
    if ((await this.inspectAt(height, width)).classes === 0) return;
    // Calls at once go to different devices: each takes the one with the least to do.
    await Promise.all(this.pool.members.map(() => this.predict({ data: new Float32Array(3 * height * width), shape: [1, 3, height, width] })));
  }

  /** The first tensor tells the size of a model that runs on no usual one. */
  private async standardiseAt(height: number, width: number): Promise<void> {
    const { classes, scores } = await this.inspectAt(height, width);
    const card = defaultCard(this.path, width, height);
    this.standard ??= { card, labels: await resolveLabels(card, classes, scores) };
  }

  private inspectAt(height: number, width: number): Promise<Inspection> {
    const key = `${height}x${width}`;
    let inspection = this.inspections.get(key);
    if (inspection === undefined) {
      inspection = this.counted(async () => {
        try {
          // On every device, which also has each ready for the size; they all find the same.
          const [found] = await Promise.all(this.pool.members.map(({ handle }) => binding().inspect(handle, height, width)));
          return found!;
        } catch (error) {
          const named = fromNative(error);
          // The engine knows the graph, not the file that it came from.
          if (named instanceof SightlineError && (named.code === 'UNSUPPORTED_MODEL' || named.code === 'INVALID_INPUT' || named.code === 'UNTRUSTED_ARCHIVE')) {
            throw new SightlineError(named.code, `${this.path}: ${named.message}`, { cause: named, details: named.details });
          }
          throw named;
        }
      });
      // Users choose the sizes of tensors, and must not fill the memory with them: the oldest goes.
      if (this.inspections.size >= KEPT_INSPECTIONS) this.inspections.delete(this.inspections.keys().next().value!);
      this.inspections.set(key, inspection);
      inspection.catch(() => this.inspections.delete(key));
    }
    return inspection;
  }

  /**
   * Decodes and submits images a window at a time, so that decoding overlaps computing and memory stays bounded. Each window
   * has its places in the queue before it is decoded.
   */
  private async process<T>(
    images: Input | readonly Input[],
    { signal, maxPixels = this.limits.maxPixels }: { readonly signal: AbortSignal | undefined; readonly maxPixels?: number | undefined },
    submit: (window: Window) => Promise<T[]>,
  ): Promise<T[]> {
    this.checkOpen();
    throwIfAborted(signal);
    const list = Array.isArray(images) ? (images as readonly Input[]) : [images as Input];
    const items = list.flatMap((input, i) => splitInput(input, `image-${i}`));
    if (items.length === 0) throw new SightlineError('INVALID_INPUT', 'No images were given.');
    const size = Math.min(Math.max(16, 2 * this.queue.maxBatch), this.queue.maxQueue);
    const queue = this.queueOfPool();
    const options = { ...this.limits, maxPixels, signal };
    return this.counted(async () => {
      const first = items[0]!.input;
      if (this.standard === null && isTensorInput(first)) await untilAborted(this.standardiseAt(first.shape[2]!, first.shape[3]!), signal);
      const { card } = this.standardCard();
      const results: T[] = [];
      const ownPlans = new KeptPlans();
      let before: Promise<T[]> | null = null;
      for (let start = 0; start < items.length; start += size) {
        const portion = items.slice(start, start + size);
        let giveUp = takePlaces(queue, portion.length);
        if (giveUp === null && before !== null) {
          // The call's own images may be those that wait.
          results.push(...(await before));
          before = null;
          giveUp = takePlaces(queue, portion.length);
        }
        if (giveUp === null) throw queueFull(queue);
        try {
          const decoded = await Promise.allSettled(portion.map((item) => prepareInput(item, card.input, options)));
          // Before a bad image is reported: nothing of this call may still be running when it rejects.
          if (before !== null) results.push(...(await before));
          const inputs = decoded.map((outcome) => {
            if (outcome.status === 'rejected') throw outcome.reason;
            return outcome.value;
          });
          before = submit({ inputs, first: start, total: items.length, ownPlans, admitted: giveUp }).finally(giveUp);
        } catch (error) {
          giveUp();
          throw error;
        }
        // Awaited a window later; until then a rejection must not count as unhandled.
        before.catch(() => undefined);
      }
      results.push(...(await before!));
      return results;
    });
  }

  private queueOfPool(): Queue {
    const { members, device } = this.pool;
    return {
      device,
      waiting: () => members.reduce((sum, { handle }) => sum + binding().waiting(handle), 0),
      limit: this.queue.maxQueue * members.length,
    };
  }

  private async submit<T>(
    { inputs, ownPlans, admitted }: Window,
    targetsOf: (index: number) => readonly ResolvedTarget[],
    signal: AbortSignal | undefined,
    key: string | null,
    record: (inspection: Inspection) => PlanDescription,
    read: (result: NativeResult, input: PreparedInput, inspection: Inspection) => T,
  ): Promise<T[]> {
    throwIfAborted(signal);
    const native = binding();
    const inspections = await untilAborted(Promise.all(inputs.map(({ request }) => this.inspectAt(request.height, request.width))), signal);
    // The signal may have been aborted in the very turn in which the inspection came.
    throwIfAborted(signal);
    const plans = inputs.map((_, i) => this.planFor(inspections[i]!, key, ownPlans, record));
    const token = native.token();
    const stop = onAbort(signal, () => native.cancel(token));
    const promises: Promise<NativeResult>[] = [];
    try {
      // Neighbours with the same plan go over together: one call, and one look of the engine's at the queue.
      for (let start = 0; start < inputs.length; ) {
        let end = start + 1;
        while (end < inputs.length && plans[end] === plans[start]) end++;
        const requests = inputs.slice(start, end).map(({ request }, i) => {
          const targets = targetsOf(start + i);
          return { ...request, targets: targets.map(({ of }) => of), against: targets.map(({ against }) => against) };
        });
        const plan = plans[start]!;
        this.pool.run(requests, this.queue.maxBatch, (handle, portion) => native.run(handle, plan, token, portion, this.queue), promises);
        start = end;
      }
      admitted();
      // All settle before any error is reported, so that nothing of this call is still running when it rejects.
      const outcomes = await Promise.allSettled(promises);
      return outcomes.map((outcome, i) => {
        if (outcome.status === 'rejected') throw outcome.reason;
        return read(outcome.value, inputs[i]!, inspections[i]!);
      });
    } catch (error) {
      // A full queue may refuse the second part of a call whose first part is already under way.
      native.cancel(token);
      await Promise.allSettled(promises);
      const named = fromNative(error);
      if (named instanceof SightlineError && named.code === 'QUEUE_FULL') throw queueFull(this.queueOfPool(), named);
      throw named instanceof SightlineError && named.code === 'ABORTED' && signal?.aborted ? abortedBy(signal) : named;
    } finally {
      stop();
    }
  }

  /** `ownPlans`: of this call, for what has no key that other calls could know it by. */
  private planFor(inspection: Inspection, key: string | null, ownPlans: KeptPlans, record: (inspection: Inspection) => PlanDescription): NativePlan {
    return (key === null ? ownPlans : this.plans).get(`${inspection.height}x${inspection.width} ${key}`, () => binding().plan(record(inspection)));
  }

  private checkOpen(): void {
    if (this.closing) throw new SightlineError('MODEL_CLOSED', `The model ${this.path} is closed; load it again.`);
  }

  /** Counts work in flight, for which `close` waits. */
  private async counted<T>(work: () => Promise<T>): Promise<T> {
    this.inFlight++;
    try {
      return await work();
    } finally {
      if (--this.inFlight === 0) this.idle?.();
    }
  }
}

/** Loads on every device, or on none. */
async function loadOn<Loaded extends { readonly handle: NativeModel }>(devices: readonly string[], load: (device: string) => Promise<Loaded>): Promise<Loaded[]> {
  // Each in a function of its own, since the addon refuses a device by throwing at once.
  const outcomes = await Promise.allSettled(devices.map(async (device) => load(device)));
  const loaded = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed === undefined) return loaded;
  await Promise.all(loaded.map(({ handle }) => settled(binding().close(handle))));
  throw fromNative(failed.reason);
}

async function readGivenCard(given: string | ModelCard | undefined): Promise<ModelCard | null> {
  if (given === undefined) return null;
  if (typeof given !== 'string') return parseCard(given, 'given to Model.load');
  let text: string;
  try {
    text = await readFile(given, 'utf8');
  } catch (cause) {
    throw new SightlineError('FILE_NOT_FOUND', `The model card ${given} cannot be read: ${(cause as Error).message}.`, { cause });
  }
  return parseCard(text, given);
}
