import { z } from 'zod';

import { binding, fromNative } from '../engine/binding.js';
import type { Applicability, Inspection } from '../engine/inspection.js';
import type { NativeModel } from '../engine/native-types.js';
import { METHOD_NAMES, METHODS } from '../methods/index.js';
import { SightlineError } from '../support/errors.js';
import { parseOptions } from '../support/options.js';
import type { InFlight } from './in-flight.js';
import type { DevicePool } from './pool.js';

const KEPT_INSPECTIONS = 64;

/** Options of `inspect`: the size of the images, and a signal. */
export interface InspectOptions {
  /** Of the images, in pixels: 1 to 16,384, together with `width`. Default: the input size of the card. */
  readonly height?: number | undefined;
  /** Of the images, in pixels: 1 to 16,384, together with `height`. Default: the input size of the card. */
  readonly width?: number | undefined;
  /** Aborting rejects with ABORTED at once. What the engine found by then is kept for the next call. Default none. */
  readonly signal?: AbortSignal | undefined;
}

const SIDE = 'a whole number of pixels from 1 to 16384 is expected';
const side = z.int({ error: SIDE }).min(1, { error: SIDE }).max(16_384, { error: SIDE }).optional();
const inspectSchema = z.strictObject({ height: side, width: side, signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional() });

type AskedSize = { readonly height: number; readonly width: number } | { readonly height: null; readonly width: null };

/**
 * What `inspect` was asked; a height of null stands for the size of the card.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function parseInspectOptions(options: InspectOptions): AskedSize & { readonly signal: AbortSignal | undefined } {
  const { height, width, signal } = parseOptions(inspectSchema, options, 'inspect');
  if (height !== undefined && width !== undefined) return { height, width, signal };
  if (height === undefined && width === undefined) return { height: null, width: null, signal };
  throw new SightlineError('INVALID_OPTION', 'inspect takes a height and a width together, in pixels; give both, or none for the size of the card.');
}

/** What `inspect` tells. */
export interface ModelInspection extends Inspection {
  /** Every method, and why it does not apply where it does not. */
  readonly methods: readonly Applicability[];
}

/** Whether each method can explain the model. */
export function withApplicability(inspection: Inspection): ModelInspection {
  const methods = METHOD_NAMES.map((name) => {
    const reason = METHODS[name].reasonAgainst(inspection);
    return { name, applies: reason === null, reason };
  });
  return { ...inspection, methods };
}

/** What is known of a model at each image size, found by the engine at the first request of that size. */
export class Inspections {
  private readonly known = new Map<string, Promise<Inspection>>();

  constructor(
    private readonly pool: DevicePool<NativeModel>,
    /** What messages call the model. */
    private readonly path: string,
    private readonly inFlight: InFlight,
  ) {}

  at(height: number, width: number): Promise<Inspection> {
    const key = `${height}x${width}`;
    let inspection = this.known.get(key);
    if (inspection === undefined) {
      inspection = this.inFlight.during(() => this.inspect(height, width));
      // Users choose the sizes of tensors, and must not fill the memory with them: the oldest goes.
      if (this.known.size >= KEPT_INSPECTIONS) this.known.delete(this.known.keys().next().value!);
      this.known.set(key, inspection);
      inspection.catch(() => this.known.delete(key));
    }
    return inspection;
  }

  private async inspect(height: number, width: number): Promise<Inspection> {
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
  }
}
