import type { Inspection } from '../engine/inspection.js';
import { binding, fromNative } from '../engine/binding.js';
import type { NativeModel, NativePlan, NativeResult } from '../engine/native-types.js';
import {
  isTensorInput,
  prepareInput,
  splitInput,
  type HandedInput,
  type Input,
  type PreparedInput,
} from '../images/inputs.js';
import type { Question, Request } from '../requests/question.js';
import { abortedBy, onAbort, throwIfAborted, untilAborted } from '../support/abort.js';
import { SightlineError } from '../support/errors.js';
import { reading } from '../support/options.js';
import type { CardInForce } from './card-in-force.js';
import type { InFlight } from './in-flight.js';
import type { Inspections } from './inspections.js';
import { KeptPlans } from './kept-plans.js';
import type { DevicePool } from './pool.js';
import { queueFull, takePlaces, type Queue } from './queue-places.js';

/** What of an image is refused before it is decoded. */
export interface DecodeLimits {
  readonly maxPixels: number;
  readonly svg: boolean;
  readonly imageFiles: boolean;
}

/** How the engine gathers requests. */
export interface QueueSettings {
  readonly maxBatch: number;
  readonly maxDelay: number;
  readonly maxQueue: number;
}

/** Images of one call that are decoded and run together. */
interface Window {
  readonly inputs: readonly PreparedInput[];
  /** Of the call's images, the number of its first. */
  readonly first: number;
  /** Plans that no other call could know. */
  readonly ownPlans: KeptPlans;
  readonly signal: AbortSignal | undefined;
  readonly client: string;
  /** As `Request.output`. */
  readonly output: string | undefined;
  /** How long a batch waits for more images, in milliseconds. */
  readonly maxDelay: number;
  /** Gives up the places that were kept for it in the queue, once it is there itself. */
  readonly admitted: () => void;
}

/** The way of requests to the engine: images are decoded, plans recorded, runs queued, results read. */
export class Submissions {
  private readonly plans = new KeptPlans();

  constructor(
    private readonly pool: DevicePool<NativeModel>,
    private readonly inspections: Inspections,
    private readonly card: CardInForce,
    private readonly inFlight: InFlight,
    private readonly queue: QueueSettings,
    private readonly limits: DecodeLimits,
  ) {}

  /**
   * Decodes and submits images a window at a time, so that decoding overlaps computing and memory stays bounded. Each
   * window has its places in the queue before it is decoded.
   *
   * @returns one answer for each image
   */
  async ask<Answer>(
    images: Input | readonly Input[],
    {
      signal,
      client = '',
      maxPixels = this.limits.maxPixels,
      maxDelay = this.queue.maxDelay,
      output,
      question,
    }: Request<Answer>,
  ): Promise<Answer[]> {
    throwIfAborted(signal);
    const list = Array.isArray(images) ? (images as readonly Input[]) : [images as Input];
    const items = list.flatMap((input, i) => {
      const name = `image-${i}`;
      return reading(name, () => splitInput(input, name), 'INVALID_INPUT');
    });
    if (items.length === 0) throw new SightlineError('INVALID_INPUT', 'No images were given.');
    return this.inFlight.during(async () => {
      const { input } = items[0]!;
      if (this.card.known === null && isTensorInput(input)) {
        await untilAborted(this.card.findAt(input.shape[2]!, input.shape[3]!), signal);
      }
      const model = output === undefined ? this.card.required : await untilAborted(this.card.ofOutput(output), signal);
      let asked: Question<Answer> | null = null;
      return this.inWindows(items, { ...this.limits, maxPixels, maxDelay, output, client, signal }, async (window) => {
        asked ??= question(model, items.length);
        return this.submit(window, asked);
      });
    });
  }

  /**
   * The same of one image that is ready for the engine. Its plans are looked for in `ownPlans` where the question has
   * no key.
   */
  async askOne<Answer>(
    input: PreparedInput,
    question: Question<Answer>,
    { signal, client = '' }: Pick<Request<Answer>, 'signal' | 'client'>,
    ownPlans: KeptPlans,
  ): Promise<Answer> {
    const [answer] = await this.submit(
      {
        inputs: [input],
        first: 0,
        ownPlans,
        signal,
        client,
        output: undefined,
        maxDelay: this.queue.maxDelay,
        admitted: () => undefined,
      },
      question,
    );
    return answer!;
  }

  forgetPlans(): void {
    this.plans.clear();
  }

  private async inWindows<Answer>(
    items: readonly HandedInput[],
    options: DecodeLimits & Pick<Window, 'signal' | 'client' | 'output' | 'maxDelay'>,
    submit: (window: Window) => Promise<Answer[]>,
  ): Promise<Answer[]> {
    const size = Math.min(Math.max(16, 2 * this.queue.maxBatch), this.queue.maxQueue);
    const queue = this.queueOfPool();
    const { card, axes } = this.card.required;
    const answers: Answer[] = [];
    const ownPlans = new KeptPlans();
    let before: Promise<Answer[]> | null = null;
    for (let start = 0; start < items.length; start += size) {
      const portion = items.slice(start, start + size);
      let giveUp = takePlaces(queue, portion.length);
      if (giveUp === null && before !== null) {
        // The call's own images may be those that wait.
        answers.push(...(await before));
        before = null;
        giveUp = takePlaces(queue, portion.length);
      }
      if (giveUp === null) throw queueFull(queue);
      try {
        const decoded = await Promise.allSettled(portion.map((item) => prepareInput(item, card.input, axes, options)));
        // Before a bad image is reported: nothing of this call may still be running when it rejects.
        if (before !== null) answers.push(...(await before));
        const inputs = decoded.map((outcome) => {
          if (outcome.status === 'rejected') throw outcome.reason;
          return outcome.value;
        });
        before = submit({
          inputs,
          first: start,
          ownPlans,
          signal: options.signal,
          client: options.client,
          output: options.output,
          maxDelay: options.maxDelay,
          admitted: giveUp,
        }).finally(giveUp);
      } catch (error) {
        giveUp();
        throw error;
      }
      // Awaited a window later; until then a rejection must not count as unhandled.
      before.catch(() => undefined);
    }
    answers.push(...(await before!));
    return answers;
  }

  private queueOfPool(): Queue {
    const { members, device } = this.pool;
    return {
      device,
      waiting: () => members.reduce((sum, { handle }) => sum + binding().waiting(handle), 0),
      limit: this.queue.maxQueue * members.length,
    };
  }

  private async submit<Answer>(
    { inputs, first, ownPlans, signal, client, output, maxDelay, admitted }: Window,
    question: Question<Answer>,
  ): Promise<Answer[]> {
    throwIfAborted(signal);
    const native = binding();
    const inspections = await untilAborted(
      Promise.all(inputs.map(({ request }) => this.inspections.at(request.height, request.width, output))),
      signal,
    );
    // The signal may have been aborted in the very turn in which the inspection came.
    throwIfAborted(signal);
    const plans = inspections.map((inspection) => this.planFor(inspection, question, ownPlans));
    const token = native.token();
    const stop = onAbort(signal, () => native.cancel(token));
    const promises: Promise<NativeResult>[] = [];
    try {
      // Neighbors with the same plan go over together: one call, and one look of the engine's at the queue.
      for (let start = 0; start < inputs.length;) {
        let end = start + 1;
        while (end < inputs.length && plans[end] === plans[start]) end++;
        const requests = inputs.slice(start, end).map(({ request }, i) => {
          const index = first + start + i;
          const targets = question.targetsOf(index);
          const given = question.givenOf?.(index, inputs[start + i]!, inspections[start + i]!);
          return {
            ...request,
            ...(given && { given }),
            targets: targets.map(({ of }) => of),
            against: targets.map(({ against }) => against),
          };
        });
        const plan = plans[start]!;
        this.pool.run(
          requests,
          this.queue.maxBatch,
          (handle, portion) => native.run(handle, plan, token, portion, { ...this.queue, maxDelay, client }),
          promises,
        );
        start = end;
      }
      admitted();
      // All settle before any error is reported, so that nothing of this call is still running when it rejects. (An
      // abort does not wait for that: see Model.whileOpen.)
      const outcomes = await Promise.allSettled(promises);
      return outcomes.map((outcome, i) => {
        if (outcome.status === 'rejected') throw outcome.reason;
        return question.read(outcome.value, inputs[i]!, inspections[i]!);
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

  private planFor(inspection: Inspection, { key, record }: Question<unknown>, ownPlans: KeptPlans): NativePlan {
    return (key === null ? ownPlans : this.plans).get(
      `${inspection.height}x${inspection.width} ${inspection.output} ${key}`,
      () => binding().plan(record(inspection)),
    );
  }
}
