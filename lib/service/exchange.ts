import type { Model } from '../model/model.js';
import type { Allowed } from './asked.js';
import type { Answer, Call } from './call.js';
import type { Stage } from './metrics.js';

/** A request on its way, as the protocols see it. */
export interface Exchange extends Allowed {
  readonly call: Call;
  /** Aborted at the deadline, when the client goes, and when the service is cut off. */
  readonly signal: AbortSignal;
  /** Whose it is: requests of different clients take turns. */
  readonly client: string;
  /** What the path's braces stand for. */
  readonly path: Readonly<Record<string, string>>;
  /** @throws ServiceFailure NOT_FOUND, NOT_READY */
  readonly model: (name?: string) => { readonly name: string; readonly model: Model };
  /**
   * A copy of a model, its weights shuffled.
   *
   * @throws ServiceFailure OVERLOADED, INVALID_REQUEST where the service keeps none
   */
  readonly shuffled: (model: Model) => Promise<Model>;
  /** All models by name, null while one is being loaded. */
  readonly models: () => readonly { readonly name: string; readonly model: Model | null }[];
  /** Whether the page is served. */
  readonly hasPage: boolean;
  /** The body, up to the service's limit. */
  readonly read: () => Promise<Buffer>;
  /** Runs a part of the work, and measures how long it takes. */
  readonly stage: <T>(stage: Stage, model: string, work: () => Promise<T> | T) => Promise<T>;
}

/** Answers one request. */
export type Handler = (exchange: Exchange) => Promise<Answer> | Answer;
