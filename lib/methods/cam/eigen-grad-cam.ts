import { z } from 'zod';

import { principalComponent, relu } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { readLayer } from './target-layer.js';

/**
 * Eigen-Grad-CAM: the first principal component of activations times gradients, negative parts cut off. The gradients
 * make it class-specific; the component's sign is set as in Eigen-CAM, by its largest magnitude.
 *
 * A variant of the pytorch-grad-cam project, after Muhammad & Yeasin 2020.
 */
export const eigenGradCam = defineMethod({
  name: 'eigen-grad-cam',
  options: z.strictObject({}),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, layer }) => {
    const { activations, gradients } = readLayer(model, layer);
    return relu(principalComponent(activations.mul(gradients)));
  },
});
