import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { detach, exp, grad, log, max, mean, sum, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { all, gradientReachesLayer, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { combineChannels, pipelineOptions } from './pipeline.js';

/**
 * ln softmax over classes. The largest logit goes first: the logarithm of a probability that underflows is no number.
 */
function logSoftmax(logits: Value): Value {
  const shifted = logits.sub(detach(max(logits, 'classes')));
  return shifted.sub(log(sum(exp(shifted), 'classes')));
}

/** What is shared out among the layer's places: [batch]. */
function utilityOf(model: SymbolicModel, asked: 'rest' | 'score' | undefined): Value {
  const hasClasses = model.inspection.classes > 0;
  if (asked === 'rest' && !hasClasses) {
    throw new SightlineError(
      'INVALID_OPTION',
      "The utility 'rest' of shapley-cam is a class's probability, and the model gives no class scores; give utility: 'score', or leave it out.",
    );
  }
  const { score } = model.output;
  return (asked ?? (hasClasses ? 'rest' : 'score')) === 'score'
    ? score
    : score.add(model.scoreIn(logSoftmax(model.output.logits)));
}

/**
 * Shapley-CAM: Grad-CAM whose weights are the places' Shapley values to second order: the mean over space of
 * g - H A / 2. H is the Hessian of the utility with respect to the layer. Where the utility is linear in the layer, H
 * is zero and the map is Grad-CAM's.
 *
 * Cai, CAMs as Shapley Value-based Explainers, 2025 (arXiv 2501.06261).
 */
export const shapleyCam = defineMethod({
  name: 'shapley-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /**
     * `rest` (the paper's): the score plus the class's log-probability; `score`: the score alone, the default where
     * there are no classes.
     */
    utility: z.enum(['rest', 'score'], { error: "'rest' or 'score' is expected" }).optional(),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer, gradientReachesLayer),
  map: ({ model, layer, options }) => {
    const feature = model.output.feature(layer);
    const gradient = grad(utilityOf(model, options.utility), feature, { differentiable: true });
    // The gradient of g . A is g + H A. With A held constant it would be H A alone, but a utility that is linear in the
    // layer has a g that depends on nothing, of which no gradient can be taken.
    const product = sum(
      gradient.mul(feature),
      feature.axes.filter((axis) => axis !== 'batch'),
    );
    const curved = grad(product, feature).sub(gradient);
    const weights = mean(model.spatial(gradient.sub(curved.mul(0.5)), layer), ['height', 'width']);
    return combineChannels(model.spatial(feature, layer).mul(weights), options);
  },
});
