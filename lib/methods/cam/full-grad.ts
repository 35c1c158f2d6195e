import { z } from 'zod';

import type { Inspection } from '../../engine/inspection.js';
import { compatWith } from '../compat/peers.js';
import * as pytorchGradCam from '../compat/pytorch-grad-cam.js';
import { all, gradientReachesImage, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { biasedNodes, fullGradient } from './full-gradient.js';

const hasBiases = (inspection: Inspection): string | null => {
  if (inspection.attention.length + inspection.unknownAttention > 0) {
    return 'it has attention, so its score is not the sum of what input and biases contribute';
  }
  return biasedNodes(inspection).length === 0 ? 'it has no convolution or batch norm with a bias' : null;
};

/**
 * FullGrad: what the input and every bias of the network contribute to the score. Input times gradient and, at each
 * convolution and batch norm, bias times gradient, each brought to [0, 1] and laid over the image, summed. Nothing is
 * left out: in a network of ReLUs these terms add up to the score.
 *
 * Srinivas & Fleuret, Full-Gradient Representation for Neural Network Visualization, NeurIPS 2019.
 */
export const fullGrad = defineMethod({
  name: 'full-grad',
  options: z.strictObject({
    /**
     * `pytorch-grad-cam`: each channel of each term to [0, 1] by itself, half-pixel centers; otherwise as the authors'
     * code.
     */
    compat: compatWith('pytorch-grad-cam'),
  }),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasBiases, gradientReachesImage),
  map: fullGradient({ over: ['channels', 'height', 'width'], epsilon: 1e-6, alignCorners: true }),
  compat: { 'pytorch-grad-cam': fullGradient(pytorchGradCam.FULL_GRAD_RESCALING) },
});
