import { z } from 'zod';

import type { Inspection, NodeInfo } from '../../engine/inspection.js';
import { abs, grad, max, mean, min, sum, upsample, type Axis, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { all, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { compatWith } from './compat.js';

/** How each term is brought to [0, 1], and how it is laid over the image. */
interface Rescaling {
  readonly over: readonly Axis[];
  readonly epsilon: number;
  readonly alignCorners: boolean;
}

const AUTHORS: Rescaling = { over: ['channels', 'height', 'width'], epsilon: 1e-6, alignCorners: true };
const PYTORCH_GRAD_CAM: Rescaling = { over: ['height', 'width'], epsilon: 1e-7, alignCorners: false };

/** Convolutions and batch norms that add something to their input. */
function biasedNodes({ nodes }: Inspection): NodeInfo[] {
  return nodes.filter(({ hasBias, layout }) => hasBias && layout === 'channels-first');
}

const hasBiases = (inspection: Inspection): string | null => {
  if (inspection.attention.length + inspection.unknownAttention > 0) return 'it has attention, so its score is not the sum of what input and biases contribute';
  return biasedNodes(inspection).length === 0 ? 'it has no convolution or batch norm with a bias' : null;
};

/** |term| to [0, 1], summed over channels, on the image. */
function laidOver(term: Value, { over, epsilon, alignCorners }: Rescaling, model: SymbolicModel): Value {
  const size = abs(term);
  const raised = size.sub(min(size, over));
  const scaled = raised.div(max(raised, over).add(epsilon));
  // Summed first: upsampling is linear, and of hundreds of channels it would fill the memory.
  return upsample(sum(scaled, 'channels'), model.inspection.height, model.inspection.width, { alignCorners });
}

/**
 * By how far the terms miss the logit: [batch]. Null where the last layer's own bias is not known. The terms add up to
 * the logit where the network is piecewise linear.
 */
function completenessError(model: SymbolicModel, terms: readonly Value[]): Value | null {
  const { head } = model.inspection;
  if (head === null || head.layout !== 'channels-first' || !model.explained.isLogit) return null;
  const withoutBias = sum(mean(model.spatial(model.output.feature(head.feature), head.feature), ['height', 'width']).mul(model.headRow()), 'channels');
  return terms.map((term) => sum(term, ['channels', 'height', 'width'])).reduce((rest, term) => rest.sub(term), withoutBias);
}

/**
 * FullGrad: what the input and every bias of the network contribute to the score. Input times gradient and, at each
 * convolution and batch norm, bias times gradient, each brought to [0, 1] and laid over the image, summed. Nothing is left
 * out: in a network of ReLUs these terms add up to the score.
 *
 * Srinivas & Fleuret, Full-Gradient Representation for Neural Network Visualization, NeurIPS 2019.
 */
export const fullGrad = defineMethod({
  name: 'full-grad',
  options: z.strictObject({
    /** `pytorch-grad-cam`: each channel of each term to [0, 1] by itself, half-pixel centres; otherwise as the authors' code. */
    compat: compatWith('pytorch-grad-cam'),
  }),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasBiases),
  map: ({ model, options }) => {
    const { score, image } = model.output;
    const terms = [
      image.mul(grad(score, image)),
      ...biasedNodes(model.inspection).map(({ name }) => grad(score, model.output.feature(name)).mul(model.bias(name))),
    ];
    const rescaling = options.compat ? PYTORCH_GRAD_CAM : AUTHORS;
    const map = terms.map((term) => laidOver(term, rescaling, model)).reduce((total, term) => total.add(term));
    const error = completenessError(model, terms);
    return error === null ? map : { map, figures: { completenessError: error } };
  },
});
