import { z } from 'zod';

import { kernelComponent, relu } from '../../symbolic/index.js';
import { defineMethod } from '../method.js';
import { hasReadableLayer } from './conditions.js';
import { activationsOf } from './target-layer.js';

/**
 * KPCA-CAM: Eigen-CAM with a kernel. Places are compared by tanh(x y / channels + 1), x and y being their centred
 * channels; the map is the first component of that matrix, negative parts cut off.
 *
 * Karmani et al., KPCA-CAM: Visual Explainability of Deep Computer Vision Models Using Kernel PCA, MMSP 2024.
 */
export const kpcaCam = defineMethod({
  name: 'kpca-cam',
  options: z.strictObject({}),
  usesLayer: true,
  isClassSpecific: false,
  reasonAgainst: hasReadableLayer,
  map: ({ model, layer }) => relu(kernelComponent(activationsOf(model, layer))),
});
