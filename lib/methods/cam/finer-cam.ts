import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { abs, constant, equal, gather, mean, neg, softmax, sum, top, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { compatWith, type Peer } from './compat.js';
import { weightedByMeanGradient } from './grad-cam.js';
import { weightedByPlaces } from './grad-cam-plus-plus.js';
import { weightedByPositiveGradient } from './layer-cam.js';
import { combineChannels, pipelineOptions } from './pipeline.js';
import { readLayer, type LayerReading } from './target-layer.js';

const BASES = {
  'grad-cam': weightedByMeanGradient,
  'grad-cam++': weightedByPlaces,
  'layer-cam': weightedByPositiveGradient,
} as const satisfies Record<string, (reading: LayerReading, compat?: Peer) => Value>;
const BASE_NAMES = Object.keys(BASES) as [keyof typeof BASES, ...(keyof typeof BASES)[]];

/** Farther from every logit than any other: keeps the class itself out of the nearest. */
const FAR = 1e30;

/** The classes whose logits lie nearest to that of the class asked for: their numbers, [batch, rank]. */
function nearestClasses(model: SymbolicModel, count: number): Value {
  const { logits } = model.output;
  const { classes } = model.inspection;
  const numbers = constant(logits, Float32Array.from({ length: classes }, (_, i) => i), { classes });
  const isAsked = equal(numbers, model.targetIndex());
  const own = sum(logits.mul(isAsked), 'classes');
  return top(neg(abs(logits.sub(own)).add(isAsked.mul(FAR))), count).indices;
}

/** What sets the class apart from those nearest to it: [batch]. */
function contrast(model: SymbolicModel, references: number, strength: number, compat: Peer | undefined): Value {
  const { logits, score } = model.output;
  const nearest = nearestClasses(model, references);
  const theirs = gather(logits, nearest);
  if (compat !== 'pytorch-grad-cam') return score.sub(mean(theirs, 'rank').mul(strength));
  // Weighted by probability, and the gradient flows through the weights too.
  const weights = gather(softmax(logits, 'classes'), nearest);
  return sum(weights.mul(theirs.mul(-strength).add(score)), 'rank').div(sum(weights, 'rank').add(1e-9));
}

/**
 * Finer-CAM: a CAM of what sets the class apart from the classes most like it, the score less `strength` times the mean
 * logit of the `references` classes whose logits are nearest.
 *
 * Zhang et al., Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation, CVPR 2025.
 */
export const finerCam = defineMethod({
  name: 'finer-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** The CAM that explains the difference. */
    base: z.enum(BASE_NAMES, { error: `${BASE_NAMES.map((name) => `'${name}'`).join(', ')} is expected` }).default('grad-cam'),
    /** How many classes are compared with; as many as there are where the model has fewer. */
    references: z.int().min(1).max(1000).default(3),
    /** How strongly they count; 0 is the base method. Default 0.6, with `compat: 'pytorch-grad-cam'` 1. */
    strength: z.number().min(0).optional(),
    /** `pytorch-grad-cam`: references weighted by their probabilities; that and `torch-cam` choose their own `grad-cam++` too. */
    compat: compatWith('pytorch-grad-cam', 'torch-cam'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer, ({ classes }) => (classes === 1 ? 'it has one class, so there is none to compare with' : null)),
  map: ({ model, layer, options: { base, references, strength, compat, eigenSmoothing } }) => {
    if (!model.explained.isLogit) {
      throw new SightlineError('INVALID_OPTION', 'finer-cam compares logits, so it explains logits only; leave `score` out, or use grad-cam.');
    }
    const count = Math.min(references, model.inspection.classes - 1);
    const score = contrast(model, count, strength ?? (compat === 'pytorch-grad-cam' ? 1 : 0.6), compat);
    return combineChannels(BASES[base](readLayer(model, layer, score), compat), { eigenSmoothing });
  },
});
