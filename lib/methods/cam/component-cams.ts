import { z } from 'zod';

import { kernelComponent, principalComponent, relu, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { all, gradientReachesLayer, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { hasReadableLayer } from './conditions.js';
import { activationsOf, readLayer } from './target-layer.js';

/** A CAM without options: the positive part of a component of what is read of the layer. */
const componentCam = ({
  name,
  isClassSpecific,
  of,
}: {
  readonly name: string;
  readonly isClassSpecific: boolean;
  readonly of: (model: SymbolicModel, layer: string) => Value;
}) =>
  defineMethod({
    name,
    options: z.strictObject({}),
    usesLayer: true,
    isClassSpecific,
    reasonAgainst: isClassSpecific ? all(hasGradients, hasTargetLayer, gradientReachesLayer) : hasReadableLayer,
    map: ({ model, layer }) => relu(of(model, layer)),
  });

/**
 * Eigen-CAM: the projection of a layer's channels on their first principal component, negative parts cut off. It tells
 * where the layer's main pattern lies, whatever the class. The component's sign is arbitrary: here its largest
 * magnitude is positive.
 *
 * Muhammad & Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020.
 */
export const eigenCam = componentCam({
  name: 'eigen-cam',
  isClassSpecific: false,
  of: (model, layer) => principalComponent(activationsOf(model, layer)),
});

/**
 * KPCA-CAM: Eigen-CAM with a kernel. Places are compared by tanh(x y / channels + 1), x and y being their centered
 * channels; the map is the first component of that matrix, negative parts cut off.
 *
 * Karmani et al., KPCA-CAM: Visual Explainability of Deep Computer Vision Models Using Kernel PCA, MMSP 2024.
 */
export const kpcaCam = componentCam({
  name: 'kpca-cam',
  isClassSpecific: false,
  of: (model, layer) => kernelComponent(activationsOf(model, layer)),
});

/**
 * Eigen-Grad-CAM: the first principal component of activations times gradients, negative parts cut off. The gradients
 * make it class-specific; the component's sign is set as in Eigen-CAM, by its largest magnitude.
 *
 * A variant of the pytorch-grad-cam project, after Muhammad & Yeasin 2020.
 */
export const eigenGradCam = componentCam({
  name: 'eigen-grad-cam',
  isClassSpecific: true,
  of: (model, layer) => {
    const { activations, gradients } = readLayer(model, layer);
    return principalComponent(activations.mul(gradients));
  },
});
