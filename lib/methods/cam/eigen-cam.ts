import { z } from 'zod';

import { principalComponent, relu } from '../../symbolic/index.js';
import { defineMethod } from '../method.js';
import { hasReadableLayer } from './conditions.js';
import { activationsOf } from './target-layer.js';

/**
 * Eigen-CAM: the projection of a layer's channels on their first principal component, negative parts cut off. It tells
 * where the layer's main pattern lies, whatever the class. The component's sign is arbitrary: here its largest magnitude is
 * positive.
 *
 * Muhammad & Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020.
 */
export const eigenCam = defineMethod({
  name: 'eigen-cam',
  options: z.strictObject({}),
  usesLayer: true,
  isClassSpecific: false,
  reasonAgainst: hasReadableLayer,
  map: ({ model, layer }) => relu(principalComponent(activationsOf(model, layer))),
});
