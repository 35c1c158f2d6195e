import type { ModelCard, ModelWeights } from '../models/card.js';

/** A model card of a checkpoint: the graph is a skeleton that ships with sightline, the weights come from the hub. */
export type PulledCard = ModelCard & {
  /** Name of the skeleton. */
  readonly architecture: string;
  readonly weights: ModelWeights;
};

/**
 * Refuses weights that do not fit the card that was made for them. It is handed in: this room knows files, not tensors.
 */
export type RequireFit = (card: PulledCard, files: readonly string[]) => Promise<void>;
