import type { Inspection } from '../engine/inspection.js';
import type { NativeResult } from '../engine/native-types.js';
import type { PlanDescription } from '../engine/plan-description.js';
import type { ImageAxes, PreparedInput } from '../images/inputs.js';
import type { ModelCard } from '../models/card.js';
import type { ResolvedTarget } from './targets.js';

/** What questions need to know of a model besides its graph. */
export interface KnownModel {
  readonly card: ModelCard;
  /** One for each class. */
  readonly labels: readonly string[];
  readonly axes: ImageAxes;
}

/** What the engine computes for each image of a call, and how its results are read. */
export interface Question<Answer> {
  /** Questions of one key have one plan for each image size; null where no other call can have the same. */
  readonly key: string | null;
  /** The classes asked for, of the call's image `index`. */
  readonly targetsOf: (index: number) => readonly ResolvedTarget[];
  readonly record: (inspection: Inspection) => PlanDescription;
  readonly read: (result: NativeResult, input: PreparedInput, inspection: Inspection) => Answer;
}

/** A request whose options were checked; its question follows once the model and the number of images are known. */
export interface Request<Answer> {
  readonly signal: AbortSignal | undefined;
  readonly maxPixels?: number | undefined;
  /** How long its batch waits for more images, in milliseconds. Default: the model's. */
  readonly maxDelay?: number | undefined;
  readonly question: (model: KnownModel, images: number) => Question<Answer>;
}
