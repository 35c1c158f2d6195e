import type { ModelCard } from '../models/card.js';

/** Which names a checkpoint gives its tensors. */
export type Naming = 'timm' | 'torchvision' | 'huggingface';

/** Where a model's weights lie on the hub. */
export interface WeightsSource {
  /** `org/name`. */
  readonly repository: string;
  /** Path in the repository: a `.safetensors`, or the `.safetensors.index.json` that names the parts of a large one. */
  readonly file: string;
  /** Branch, tag or commit. */
  readonly revision: string;
  /** Of `file`, lower-case hexadecimal, where it is known beforehand. */
  readonly sha256?: string | undefined;
  /** About as many; what the hub announces is what counts. */
  readonly bytes?: number | undefined;
  readonly naming: Naming;
  /** Of every layer norm, where the checkpoint's library has another one than the skeleton's. */
  readonly layerNormEps?: number | undefined;
}

/** A model card of a checkpoint: the graph is a skeleton that ships with sightline, the weights come from the hub. */
export type PulledCard = ModelCard & {
  /** Name of the skeleton. */
  readonly architecture: string;
  readonly weights: WeightsSource;
};
