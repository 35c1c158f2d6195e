import { z } from 'zod';

import type { Inspection } from '../engine/inspection.js';
import type { NativeResult, Tensor } from '../engine/native-types.js';
import type { PlanDescription } from '../engine/plan-description.js';
import type { ImageAxes, PreparedInput } from '../images/inputs.js';
import type { ModelCard } from '../models/card.js';
import type { ResolvedTarget } from './targets.js';

const CLIENT = 'a text of at most 256 characters is expected';
export const clientOption = z.string({ error: CLIENT }).max(256, { error: CLIENT }).optional();
/** One of several things that a model returns: a dict's key, or a place in a tuple or list. */
export const outputOption = z.union([z.string().min(1), z.int().min(0)], "expected an output's name or place");

/** What questions need to know of a model besides its graph. */
export interface KnownModel {
  readonly card: ModelCard;
  /** One for each class. */
  readonly labels: readonly string[];
  readonly axes: ImageAxes;
  /** One for each class of masks or boxes; none where the model returns something else. */
  readonly denseLabels: readonly string[];
}

/** What the engine computes for each image of a call, and how its results are read. */
export interface Question<Answer> {
  /** Questions of one key have one plan for each image size; null where no other call can have the same. */
  readonly key: string | null;
  /** The classes asked for, of the call's image `index`. */
  readonly targetsOf: (index: number) => readonly ResolvedTarget[];
  /** Tensors for the plan's `given` steps, of the call's image `index`, the batch's axis (1) first. Default: none. */
  readonly givenOf?: (index: number, input: PreparedInput, inspection: Inspection) => Readonly<Record<string, Tensor>>;
  readonly record: (inspection: Inspection) => PlanDescription;
  readonly read: (result: NativeResult, input: PreparedInput, inspection: Inspection) => Answer;
}

/** A request whose options were checked; its question follows once the model and the number of images are known. */
export interface Request<Answer> {
  readonly signal: AbortSignal | undefined;
  /** Whose it is. Default: one client for all that name none. */
  readonly client?: string | undefined;
  readonly maxPixels?: number | undefined;
  /** Of the model, the output that is asked about. Default: the one chosen when the model was loaded. */
  readonly output?: string | undefined;
  /** How long its batch waits for more images, in milliseconds. Default: the model's. */
  readonly maxDelay?: number | undefined;
  readonly question: (model: KnownModel, images: number) => Question<Answer>;
}
