import { z } from 'zod';

import { binding, fromNative } from '../engine/binding.js';
import type { Applicability, Inspection } from '../engine/inspection.js';
import type { ImageSizes } from '../archives/exported/sizes.js';
import type { NativeModel } from '../engine/native-types.js';
import { METHOD_NAMES, METHODS } from '../methods/index.js';
import type { ModelCard } from '../models/card.js';
import { denseFormOf, type DenseForm } from '../requests/dense/form.js';
import { outputOption } from '../requests/question.js';
import { SightlineError } from '../support/errors.js';
import { parseOptions } from '../support/options.js';
import type { InFlight } from './in-flight.js';
import type { DevicePool } from './pool.js';

const KEPT_INSPECTIONS = 64;
/** Refusals by the engine that a user can only follow with the name of the file. */
const OF_THE_FILE: ReadonlySet<string> = new Set([
  'UNSUPPORTED_MODEL',
  'INVALID_INPUT',
  'UNTRUSTED_ARCHIVE',
  'MODEL_TOO_SLOW',
]);

/** Options of `inspect`: the size of the images, the output, and a signal. */
export interface InspectOptions {
  /** Of the images, in pixels: 1 to 16,384, together with `width`. Default: the input size of the card. */
  readonly height?: number | undefined;
  /** Of the images, in pixels: 1 to 16,384, together with `height`. Default: the input size of the card. */
  readonly width?: number | undefined;
  /** Of a model that returns several, the output to explain, by name or place. Default: that of `Model.load`. */
  readonly output?: string | number | undefined;
  /** Aborting rejects with ABORTED at once. The inspection goes on and is kept for the next call. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

const SIDE = 'a whole number of pixels from 1 to 16384 is expected';
const side = z.int({ error: SIDE }).min(1, { error: SIDE }).max(16_384, { error: SIDE }).optional();
const inspectSchema = z.strictObject({
  height: side,
  width: side,
  output: outputOption.optional(),
  signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional(),
});

type AskedSize = { readonly height: number; readonly width: number } | { readonly height: null; readonly width: null };

/**
 * What `inspect` was asked; a height of null stands for the size of the card.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function parseInspectOptions(
  options: InspectOptions,
): AskedSize & { readonly output: string | undefined; readonly signal: AbortSignal | undefined } {
  const { height, width, output, signal } = parseOptions(inspectSchema, options, 'inspect');
  const others = { output: output?.toString(), signal };
  if (height !== undefined && width !== undefined) return { height, width, ...others };
  if (height === undefined && width === undefined) return { height: null, width: null, ...others };
  throw new SightlineError(
    'INVALID_OPTION',
    'inspect takes a height and a width together, in pixels; give both, or none for the size of the card.',
  );
}

/** The result of `inspect`. */
export interface ModelInspection extends Inspection {
  /** Every method, and why it does not apply where it does not. */
  readonly methods: readonly Applicability[];
  /** How an output is read that scores no classes of the whole image, such as masks and boxes; null where it does. */
  readonly dense: DenseForm | null;
}

/** Whether each method can explain the model, and what `explain` can be asked about. */
export function withApplicability(inspection: Inspection, card: Pick<ModelCard, 'dense' | 'labels'>): ModelInspection {
  const methods = METHOD_NAMES.map((name) => {
    const reason = METHODS[name].reasonAgainst(inspection);
    return { name, applies: reason === null, reason };
  });
  return { ...inspection, methods, dense: denseFormOf(inspection, card) };
}

/** What is known of a model at each image size, found by the engine at the first request of that size. */
export class Inspections {
  private readonly known = new Map<string, Promise<Inspection>>();

  constructor(
    private readonly pool: DevicePool<NativeModel>,
    /** What messages call the model. */
    private readonly path: string,
    private readonly inFlight: InFlight,
    /** Which images it is for; null where the graph itself is to tell. */
    private readonly sizes: ImageSizes | null,
  ) {}

  /** `output`: by name; left out for the one that was chosen when the model was loaded. */
  at(height: number, width: number, output?: string): Promise<Inspection> {
    const key = `${height}x${width} ${output ?? ''}`;
    let inspection = this.known.get(key);
    if (inspection === undefined) {
      inspection = this.inFlight.during(() => this.inspect(height, width, output));
      // Users choose the sizes of tensors, and must not fill the memory with them: the oldest goes.
      if (this.known.size >= KEPT_INSPECTIONS) this.known.delete(this.known.keys().next().value!);
      this.known.set(key, inspection);
      inspection.catch(() => this.known.delete(key));
    }
    return inspection;
  }

  private async inspect(height: number, width: number, output: string | undefined): Promise<Inspection> {
    const wanted = this.sizes?.refusal(height, width) ?? null;
    if (wanted !== null) {
      throw new SightlineError(
        'INVALID_INPUT',
        `${this.path} is for ${wanted}, not for ${width} x ${height}; ask for such images, or ${this.sizes!.remedy}.`,
      );
    }
    try {
      // On every device, which also has each ready for the size; they all find the same.
      const [found] = await Promise.all(
        this.pool.members.map(({ handle }) => binding().inspect(handle, height, width, output)),
      );
      return found!;
    } catch (error) {
      const named = fromNative(error);
      // The engine knows the graph, not the file that it came from.
      if (named instanceof SightlineError && OF_THE_FILE.has(named.code)) {
        throw new SightlineError(named.code, `${this.path}: ${named.message}`, {
          cause: named,
          details: named.details,
        });
      }
      throw named;
    }
  }
}
