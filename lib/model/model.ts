import { preferredMethod } from '../methods/preferred.js';
import type { MethodName } from '../methods/index.js';
import type { ModelCard } from '../models/card.js';
import { binding, settled } from '../engine/binding.js';
import type { NativeModel, Shuffling } from '../engine/native-types.js';
import { splitInput, type Input } from '../images/inputs.js';
import { attentionMapRequest, type AttentionMap, type AttentionMapOptions } from '../requests/attention-maps.js';
import { captureRequest, readCapture, type Capture, type CaptureOptions } from '../requests/capture.js';
import type {
  CustomOptions,
  Explanation,
  NamedExplanation,
  NamedOptions,
  UnnamedOptions,
} from '../requests/explain.js';
import { namesMethod, parseExplainOptions } from '../requests/explain-options.js';
import { explainRequest } from '../requests/explain-request.js';
import { parseMaximizeOptions, type Maximized, type MaximizeOptions } from '../requests/maximize/maximize.js';
import { predictRequest, type Predicted, type PredictOptions } from '../requests/predict.js';
import type { EvaluateOptions } from '../requests/evaluate/evaluate.js';
import type { Evaluation } from '../requests/evaluate/evaluation.js';
import { judge } from '../requests/evaluate/judge.js';
import type { Request } from '../requests/question.js';
import { parseSearchOptions } from '../requests/search/options.js';
import { runSearch } from '../requests/search/run.js';
import type { SearchOptions, SearchResult } from '../requests/search/search.js';
import { checkSanity } from '../requests/sanity/check.js';
import type { SanityCheck, SanityOptions } from '../requests/sanity/sanity.js';
import { throwIfAborted, untilAborted, withEither } from '../support/abort.js';
import { asyncDispose } from '../support/dispose.js';
import { SightlineError } from '../support/errors.js';
import type { z } from 'zod';
import { parseOptions } from '../support/options.js';
import { CardInForce } from './card-in-force.js';
import { closeSchema, endAfter, type CloseOptions } from './close-options.js';
import { InFlight } from './in-flight.js';
import {
  Inspections,
  parseInspectOptions,
  withApplicability,
  type InspectOptions,
  type ModelInspection,
} from './inspections.js';
import { blankImage, maximizeOn } from './own-runs.js';
import { loadModel, parseLoadOptions, type LoadedModel, type LoadOptions, type LoadSettings } from './load.js';
import { orFreed } from './or-freed.js';
import type { DevicePool } from './pool.js';
import { remarksOn } from './remarks.js';
import { shuffleSchema, type ShuffleOptions } from './shuffle-options.js';
import { Submissions } from './submission.js';

/**
 * A classifier, ready to explain.
 *
 * All work runs on the device's own thread; requests that wait are gathered into batches. Close a model, or declare it
 * with `await using`, to free its memory at a known moment.
 */
export class Model {
  /** Absolute path of the archive, or of the checkpoint's first file. */
  readonly path: string;
  /** Where it runs: `cpu`, `cuda:0`, `cuda:0,cuda:1`, ... */
  readonly device: string;
  /** Bytes of its weights, on all its devices together. */
  readonly weightBytes: number;
  private readonly pool: DevicePool<NativeModel>;
  private readonly inFlight = new InFlight();
  private readonly inspections: Inspections;
  private readonly inForce: CardInForce;
  private readonly submissions: Submissions;
  private remarks: readonly string[];
  private closing: Promise<void> | null = null;

  private constructor(
    { pool, path, weightBytes, notes, queue, limits, sizes }: LoadedModel,
    /** What loads it once more. */
    private readonly source: { readonly nameOrPath: string; readonly settings: LoadSettings },
  ) {
    this.path = path;
    this.device = pool.device;
    this.weightBytes = weightBytes;
    this.remarks = notes;
    this.pool = pool;
    this.inspections = new Inspections(pool, path, this.inFlight, sizes);
    this.inForce = new CardInForce(path, this.inspections, sizes);
    this.submissions = new Submissions(pool, this.inspections, this.inForce, this.inFlight, queue, limits);
  }

  /**
   * Loads an archive, or a checkpoint into a graph that ships with sightline. Fetches nothing.
   *
   * @param nameOrPath a bundled model (`vit-tiny-shapes`), a model that was pulled (`vit_base_patch16_224`,
   * `org/name`), or the path of a program of torch.export (`.pt2`), a TorchScript archive or a checkpoint
   * @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE, UNKNOWN_MODEL, NOT_PULLED, INVALID_WEIGHTS, NOT_TORCHSCRIPT,
   * UNTRUSTED_ARCHIVE, MODEL_TOO_SLOW, UNSUPPORTED_MODEL, INVALID_CARD, INVALID_OPTION, DEVICE_UNAVAILABLE,
   * OUT_OF_MEMORY, NATIVE_MISSING, ABORTED; with `isolate` ARCHIVE_CRASHED, ARCHIVE_TIMED_OUT and PROCESS_NOT_STARTED
   */
  static async load(nameOrPath: string, options: LoadOptions = {}): Promise<Model> {
    const settings = parseLoadOptions(options);
    throwIfAborted(settings.signal);
    return orFreed(Model.loadReady(nameOrPath, settings), settings.signal);
  }

  /**
   * Loads the model once more, from where it came, with the numbers within each parameter shuffled: a network of the
   * same shape that has learned nothing. A map that looks the same there comes from the picture and that shape, not
   * from what the model learned (Adebayo et al., NeurIPS 2018). With `layers` only their parameters
   * are. Close it when done, like every model.
   *
   * @throws SightlineError METHOD_NOT_APPLICABLE where the weights are constants of the graph, as in frozen and
   * quantized models; UNKNOWN_NODE where a layer has no parameter; INVALID_OPTION, MODEL_CLOSED, and those of
   * `Model.load`
   */
  async shuffled(options: ShuffleOptions = {}): Promise<Model> {
    const { seed, layers = [], signal } = parseOptions(shuffleSchema, options, 'shuffled');
    this.checkOpen();
    throwIfAborted(signal);
    const { nameOrPath, settings } = this.source;
    return orFreed(Model.loadReady(nameOrPath, { ...settings, signal }, { seed, layers }), signal);
  }

  private static async loadReady(
    name: string,
    settings: LoadSettings,
    shuffling: Shuffling | null = null,
  ): Promise<Model> {
    const loaded = await loadModel(name, settings, shuffling);
    const model = new Model(loaded, { nameOrPath: name, settings: { ...settings, signal: undefined } });
    try {
      await model.makeReady(loaded, settings.signal);
    } catch (error) {
      await model.close();
      throw error;
    }
    return model;
  }

  /**
   * The card in force: the given one, that beside the archive, or ImageNet's defaults at a size that the model takes.
   */
  get card(): ModelCard {
    return this.inForce.required.card;
  }

  /**
   * Assumptions where nothing was given, such as preprocessing without a card: sentences for people. A frozen list.
   */
  get notes(): readonly string[] {
    return this.remarks;
  }

  /** The label of each class. */
  get labels(): readonly string[] {
    return this.inForce.required.labels;
  }

  /**
   * The parts of the model: nodes, attention, token grid, head, and which methods apply.
   *
   * @throws SightlineError INVALID_OPTION, INVALID_INPUT for a size that the model does not take, MODEL_CLOSED, ABORTED
   */
  async inspect(options: InspectOptions = {}): Promise<ModelInspection> {
    const { signal, output, ...size } = parseInspectOptions(options);
    return this.whileOpen(signal, async (either) => {
      throwIfAborted(either);
      const { height, width } = size.height === null ? this.card.input : size;
      return withApplicability(await this.inspections.at(height, width, output), await this.inForce.cardOf(output));
    });
  }

  /**
   * Classifies images: one plain forward pass, nothing tapped.
   *
   * @throws SightlineError as `explain`
   */
  async predict(images: Input | readonly Input[], options: PredictOptions = {}): Promise<Predicted[]> {
    return this.ask(images, predictRequest(options));
  }

  /**
   * Explains images: predictions, and one map per image and target.
   *
   * @param images paths, encoded bytes, raw pixels, sharp instances, or tensors [N, 3, H, W] that are taken as they are
   * @throws SightlineError INVALID_OPTION, INVALID_IMAGE, INVALID_INPUT, UNKNOWN_TARGET, UNKNOWN_NODE,
   * METHOD_NOT_APPLICABLE, QUEUE_FULL, MODEL_CLOSED, ABORTED, OUT_OF_MEMORY, STEP_FAILED
   */
  async explain<M extends MethodName>(
    images: Input | readonly Input[],
    options: NamedOptions<M>,
  ): Promise<NamedExplanation<M>[]>;
  async explain<Schema extends z.ZodType>(
    images: Input | readonly Input[],
    options: CustomOptions<Schema>,
  ): Promise<Explanation<string, z.output<Schema>, string | null>[]>;
  /**
   * By several methods at once, which share what they have in common: the forward pass, and the backward pass of those
   * that read gradients of the same score. All explain the same targets. For each image a list, one explanation per
   * method.
   */
  async explain<const Several extends readonly NamedOptions<MethodName>[]>(
    images: Input | readonly Input[],
    options: Several,
  ): Promise<{ -readonly [K in keyof Several]: NamedExplanation<Several[K]['method']> }[]>;
  /**
   * By the method that suits the model: CAM where it pools into one linear layer, else attention rollout, else
   * Grad-CAM.
   */
  async explain(images: Input | readonly Input[], options?: UnnamedOptions): Promise<Explanation[]>;
  async explain(
    images: Input | readonly Input[],
    given: object = {},
  ): Promise<Explanation<string, unknown>[] | Explanation<string, unknown>[][]> {
    const options = namesMethod(given) ? given : { ...given, method: await this.preferredMethod(given) };
    const isSeveral = Array.isArray(options);
    const explained = await this.ask(
      images,
      explainRequest((isSeveral ? (options as object[]) : [options]).map(parseExplainOptions)),
    );
    return isSeveral ? explained : explained.map(([only]) => only!);
  }

  /**
   * Judges methods by metrics: for each method, image and target the figures of one map, methods in the order asked
   * for. A method's map and all its metrics are one plan, so that they share the run on the image.
   *
   * @throws SightlineError as `explain`; METHOD_NOT_APPLICABLE where a method does not apply
   */
  async evaluate(images: Input | readonly Input[], options: EvaluateOptions): Promise<Evaluation> {
    return judge(options, (request) => this.ask(images, request));
  }

  /**
   * Finds the options of methods that a metric likes best, on some of the images, and how they do on the others. All
   * candidates share the forward passes, the gradients and whatever else they have in common.
   *
   * @throws SightlineError as `evaluate`
   */
  async search(images: Input | readonly Input[], options: SearchOptions): Promise<SearchResult> {
    return runSearch(images, parseSearchOptions(options, await this.inspect()), (some, of) => this.ask(some, of));
  }

  /**
   * Whether a method's maps follow the model: compares them with those of a model whose weights are shuffled layer by
   * layer, or with those of another class. Each step of the first loads the model once more, and frees it.
   *
   * @throws SightlineError as `explain` and `shuffled`; METHOD_NOT_APPLICABLE where the model scores fewer than two
   * classes
   */
  async sanityCheck(images: Input | readonly Input[], options: SanityOptions): Promise<SanityCheck> {
    return checkSanity(images, options, this);
  }

  /**
   * Reads features, attention, queries, keys, values and their gradients out of the model, which runs to the last tap.
   *
   * @throws SightlineError as `explain`
   */
  async capture(images: Input | readonly Input[], options: CaptureOptions): Promise<Capture> {
    return readCapture(await this.ask(images, captureRequest(options)));
  }

  /** Class-token attention per block and head, or queries, keys and values per channel, as maps over the patches. */
  async attention(image: Input, options: AttentionMapOptions = {}): Promise<AttentionMap[]> {
    const request = attentionMapRequest(options);
    const isOne = splitInput(image, 'image-0').length === 1;
    if (!isOne) throw new SightlineError('INVALID_INPUT', 'attention takes one image; give it a tensor of one.');
    return (await this.ask(image, request))[0]!;
  }

  /**
   * Makes an image that maximizes one thing: a class's score, a channel, a unit, a token, a head's attention, or a
   * channel of its queries, keys or values.
   *
   * @throws SightlineError INVALID_OPTION, UNKNOWN_NODE, UNKNOWN_TARGET, METHOD_NOT_APPLICABLE, QUEUE_FULL,
   * MODEL_CLOSED, ABORTED, OUT_OF_MEMORY, STEP_FAILED
   */
  async maximize(options: MaximizeOptions): Promise<Maximized> {
    const request = parseMaximizeOptions(options);
    return this.whileOpen(request.signal, (signal) =>
      this.inFlight.during(() => maximizeOn({ ...request, signal }, this.inForce, this.inspections, this.submissions)),
    );
  }

  /**
   * Waits for the work in flight, then frees the model. Calling it again gives the same promise, and may set a shorter
   * time. Work that still runs when the time is over rejects with ABORTED, whose `cause` has the code MODEL_CLOSED.
   *
   * @throws SightlineError INVALID_OPTION
   */
  close(options: CloseOptions = {}): Promise<void> {
    const { timeout } = parseOptions(closeSchema, options, 'close');
    const closing = this.freed();
    if (timeout !== undefined) endAfter(timeout, closing, this.inFlight, this.path);
    return closing;
  }

  private freed(): Promise<void> {
    this.closing ??= (async () => {
      await this.inFlight.ended();
      this.submissions.forgetPlans();
      await Promise.all(this.pool.members.map(({ handle }) => settled(binding().close(handle))));
    })();
    return this.closing;
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Finds the card in force, notes what is peculiar, and warms up. */
  private async makeReady({ card, isChosen, notes }: LoadedModel, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    const assumed = await this.inForce.find(card);
    throwIfAborted(signal);
    const found = assumed === null ? notes : [...notes, assumed];
    const { known } = this.inForce;
    this.remarks = Object.freeze([...found]);
    if (known === null) return;
    const { height, width } = known.card.input;
    const inspection = await this.inspections.at(height, width);
    this.remarks = Object.freeze([...found, ...remarksOn(this.path, known.labels, inspection, isChosen)]);
    if (inspection.classes === 0) return;
    // One prediction on every device: weights are packed and kernels are chosen before the first request, not by it.
    // Calls at once go to different devices: each takes the one with the least to do. No batch of theirs waits for more
    // images.
    const blank = blankImage(inspection);
    await Promise.all(this.pool.members.map(() => this.ask(blank, { ...predictRequest({ signal }), maxDelay: 0 })));
  }

  private async preferredMethod({ output }: UnnamedOptions): Promise<MethodName> {
    return preferredMethod(await this.inspect({ output }), this.card.name);
  }

  private ask<Answer>(images: Input | readonly Input[], request: Request<Answer>): Promise<Answer[]> {
    return this.whileOpen(request.signal, (signal) => this.submissions.ask(images, { ...request, signal }));
  }

  /**
   * Work on the model, which ends by the caller's signal and by the end of the model. An abort rejects at once: the
   * engine may be amid an operator that takes long, leaves after it, and is in flight until then.
   */
  private async whileOpen<T>(own: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.checkOpen();
    return withEither(this.inFlight.signal, own, (signal) => untilAborted(work(signal), signal));
  }

  private checkOpen(): void {
    if (this.closing) throw new SightlineError('MODEL_CLOSED', `The model ${this.path} is closed; load it again.`);
  }
}
