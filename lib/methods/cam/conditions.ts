import type { Inspection } from '../../engine/inspection.js';
import { all, hasTargetLayer } from '../conditions.js';

/**
 * Features that can be computed with: quantized ones are bytes with a scale, for which the mathematics has no kernels.
 */
const hasFloatFeatures = ({ isQuantized }: Inspection): string | null =>
  isQuantized ? 'its weights are quantized, and quantized features cannot be computed with' : null;

/** What a CAM without gradients needs. */
export const hasReadableLayer = all(hasFloatFeatures, hasTargetLayer);
