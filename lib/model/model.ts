import { preferredMethod } from '../methods/preferred.js';
import type { MethodName } from '../methods/index.js';
import type { ModelCard } from '../models/card.js';
import { binding, settled } from '../engine/binding.js';
import type { NativeModel } from '../engine/native-types.js';
import { splitInput, type Input } from '../images/inputs.js';
import { attentionMapRequest, type AttentionMap, type AttentionMapOptions } from '../requests/attention-maps.js';
import { captureRequest, readCapture, type Capture, type CaptureOptions } from '../requests/capture.js';
import type { CustomOptions, Explanation, NamedExplanation, NamedOptions, UnnamedOptions } from '../requests/explain.js';
import { namesMethod, parseExplainOptions } from '../requests/explain-options.js';
import { explainRequest } from '../requests/explain-request.js';
import { maximize, parseMaximizeOptions, type Maximized, type MaximizeOptions } from '../requests/maximize/maximize.js';
import { predictRequest, type Predicted, type PredictOptions } from '../requests/predict.js';
import type { Request } from '../requests/question.js';
import { throwIfAborted, untilAborted } from '../support/abort.js';
import { asyncDispose } from '../support/dispose.js';
import { SightlineError } from '../support/errors.js';
import type { z } from 'zod';
import { CardInForce } from './card-in-force.js';
import { InFlight } from './in-flight.js';
import { Inspections, parseInspectOptions, withApplicability, type InspectOptions, type ModelInspection } from './inspections.js';
import { KeptPlans } from './kept-plans.js';
import { loadModel, parseLoadOptions, type LoadedModel, type LoadOptions, type LoadSettings } from './load.js';
import type { DevicePool } from './pool.js';
import { remarksOn } from './remarks.js';
import { Submissions } from './submission.js';

/**
 * A TorchScript classifier, ready to explain.
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

  private constructor({ pool, path, weightBytes, notes, queue, limits }: LoadedModel) {
    this.path = path;
    this.device = pool.device;
    this.weightBytes = weightBytes;
    this.remarks = notes;
    this.pool = pool;
    this.inspections = new Inspections(pool, path, this.inFlight);
    this.inForce = new CardInForce(path, this.inspections);
    this.submissions = new Submissions(pool, this.inspections, this.inForce, this.inFlight, queue, limits);
  }

  /**
   * Loads an archive, or a checkpoint into a graph that ships with sightline. Fetches nothing.
   *
   * @param nameOrPath a bundled model (`vit-tiny-shapes`), a model that was pulled (`vit_base_patch16_224`, `org/name`), or
   * the path of a TorchScript archive or of a safetensors checkpoint
   * @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE, UNKNOWN_MODEL, NOT_PULLED, INVALID_WEIGHTS, NOT_TORCHSCRIPT,
   * UNTRUSTED_ARCHIVE, UNSUPPORTED_MODEL, INVALID_CARD, INVALID_OPTION, DEVICE_UNAVAILABLE, OUT_OF_MEMORY, NATIVE_MISSING,
   * ABORTED; with `isolate` ARCHIVE_CRASHED, ARCHIVE_TIMED_OUT and PROCESS_NOT_STARTED
   */
  static async load(nameOrPath: string, options: LoadOptions = {}): Promise<Model> {
    const settings = parseLoadOptions(options);
    throwIfAborted(settings.signal);
    const loading = Model.loadReady(nameOrPath, settings);
    try {
      return await untilAborted(loading, settings.signal);
    } catch (error) {
      // The engine cannot stop within a step of loading. Nobody holds what it loads after an abort, so it is freed.
      loading.then(
        (model) => model.close(),
        () => undefined,
      );
      throw error;
    }
  }

  private static async loadReady(nameOrPath: string, settings: LoadSettings): Promise<Model> {
    const loaded = await loadModel(nameOrPath, settings);
    const model = new Model(loaded);
    try {
      await model.makeReady(loaded, settings.signal);
    } catch (error) {
      await model.close();
      throw error;
    }
    return model;
  }

  /** The card in force: the given one, that beside the archive, or ImageNet's defaults at a size that the model takes. */
  get card(): ModelCard {
    return this.inForce.required.card;
  }

  /**
   * What was assumed where nothing said it, such as preprocessing without a card: sentences for people. A frozen list.
   */
  get notes(): readonly string[] {
    return this.remarks;
  }

  /** The label of each class. */
  get labels(): readonly string[] {
    return this.inForce.required.labels;
  }

  /**
   * What the model consists of: nodes, attention, token grid, head, and which methods apply.
   *
   * @throws SightlineError INVALID_OPTION, INVALID_INPUT for a size that the model does not take, MODEL_CLOSED, ABORTED
   */
  async inspect(options: InspectOptions = {}): Promise<ModelInspection> {
    const { signal, ...size } = parseInspectOptions(options);
    this.checkOpen();
    throwIfAborted(signal);
    const { height, width } = size.height === null ? this.card.input : size;
    return withApplicability(await untilAborted(this.inspections.at(height, width), signal));
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
    const explained = await this.ask(images, explainRequest((isSeveral ? (options as object[]) : [options]).map(parseExplainOptions)));
    return isSeveral ? explained : explained.map(([only]) => only!);
  }

  /**
   * Reads features, attention, queries, keys, values and their gradients out of the model. What lies behind the last
   * tap is not run.
   *
   * @throws SightlineError as `explain`
   */
  async capture(images: Input | readonly Input[], options: CaptureOptions): Promise<Capture> {
    return readCapture(await this.ask(images, captureRequest(options)));
  }

  /** Class-token attention per block and head, or queries, keys and values per channel, as maps over the patches. */
  async attention(image: Input, options: AttentionMapOptions = {}): Promise<AttentionMap[]> {
    const request = attentionMapRequest(options);
    if (splitInput(image, 'image-0').length > 1) throw new SightlineError('INVALID_INPUT', 'attention takes one image; give it a tensor of one.');
    const [maps] = await this.ask(image, request);
    return maps!;
  }

  /**
   * Makes an image that maximizes a class's score, a channel, a unit, a token, a head's attention, or a channel of its
   * queries, keys or values.
   *
   * @throws SightlineError INVALID_OPTION, UNKNOWN_NODE, UNKNOWN_TARGET, METHOD_NOT_APPLICABLE, QUEUE_FULL, MODEL_CLOSED,
   * ABORTED, OUT_OF_MEMORY, STEP_FAILED
   */
  async maximize(options: MaximizeOptions): Promise<Maximized> {
    const request = parseMaximizeOptions(options);
    this.checkOpen();
    return this.inFlight.during(async () => {
      const { card, labels } = this.inForce.required;
      const inspection = await untilAborted(this.inspections.at(card.input.height, card.input.width), request.signal);
      const ownPlans = new KeptPlans();
      return maximize(request, {
        inspection,
        card,
        labels,
        run: (input, key, record) => this.submissions.askOne(input, { key, targetsOf: () => [], record, read: (result) => result }, request.signal, ownPlans),
      });
    });
  }

  /** Waits for the work in flight, then frees the model. Calling it again gives the same promise. */
  close(): Promise<void> {
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
    const { classes, channels, isChannelsLast } = inspection;
    if (classes === 0) return;
    // One prediction on every device: weights are packed and kernels are chosen before the first request, not by it. Calls at
    // once go to different devices: each takes the one with the least to do. No batch of theirs waits for more images.
    const blank = { data: new Float32Array(channels * height * width), shape: isChannelsLast ? [1, height, width, channels] : [1, channels, height, width] };
    await Promise.all(this.pool.members.map(() => this.ask(blank, { ...predictRequest({ signal }), maxDelay: 0 })));
  }

  private async ask<Answer>(images: Input | readonly Input[], request: Request<Answer>): Promise<Answer[]> {
    this.checkOpen();
    return this.submissions.ask(images, request);
  }

  private checkOpen(): void {
    if (this.closing) throw new SightlineError('MODEL_CLOSED', `The model ${this.path} is closed; load it again.`);
  }
}
