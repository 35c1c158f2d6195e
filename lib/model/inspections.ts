import { binding, fromNative } from '../engine/binding.js';
import type { Applicability, Inspection } from '../engine/inspection.js';
import type { NativeModel } from '../engine/native-types.js';
import { METHOD_NAMES, METHODS } from '../methods/index.js';
import { SightlineError } from '../support/errors.js';
import type { InFlight } from './in-flight.js';
import type { DevicePool } from './pool.js';

const KEPT_INSPECTIONS = 64;

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
