import { z } from 'zod';

import { principalComponent, relu, sum, type Value } from '../../symbolic/index.js';

/** The options of every CAM that weighs a layer's activations; spread into the method's own. */
export const pipelineOptions = {
  /** Whether the first principal component of the weighted activations takes the place of their sum over channels. */
  eigenSmoothing: z.boolean({ error: 'true or false is expected' }).default(false),
} as const;

/** How weighted activations become a map. */
export interface PipelineSettings {
  readonly eigenSmoothing: boolean;
  /** Keeps what speaks against the class, as negative values. */
  readonly signed?: boolean;
}

/**
 * The shared end of the CAM family: weighted activations [batch, channels, height, width] to the map [batch, height,
 * width], by their sum over channels or their first principal component; negative parts are cut off unless the method
 * is signed.
 */
export function combineChannels(weighted: Value, { eigenSmoothing, signed = false }: PipelineSettings): Value {
  const map = eigenSmoothing ? principalComponent(weighted) : sum(weighted, 'channels');
  return signed ? map : relu(map);
}
