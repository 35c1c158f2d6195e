import { z } from 'zod';

import type { Inspection } from '../../engine/inspection.js';
import { SightlineError } from '../../support/errors.js';
import { gather, mean, type Value } from '../../symbolic/index.js';
import { compatWith } from '../compat/peers.js';
import * as pytorchGradCam from '../compat/pytorch-grad-cam.js';
import * as torchCam from '../compat/torch-cam.js';
import { all, gradientReachesLayer, hasGradients, hasTargetLayer } from '../conditions.js';
import { count, notNegative, oneOf } from '../fields.js';
import { defineMethod, type MapOf, type MethodInput } from '../method.js';
import { combineChannels, pipelineOptions, type PipelineSettings } from './pipeline.js';
import { nearestClasses } from './nearest-classes.js';
import { readLayer } from './target-layer.js';
import { byMeanGradient, byPlaces, byPositiveGradient, type Weighting } from './weightings.js';

const hasRivals = ({ classes }: Inspection): string | null => {
  if (classes === 0) return 'it gives no class scores that could be compared';
  return classes === 1 ? 'it has one class, so there is none to compare with' : null;
};

interface Settings extends PipelineSettings {
  readonly base: 'grad-cam' | 'grad-cam++' | 'layer-cam';
  readonly references: number;
  readonly strength?: number | undefined;
}

/** What sets the class apart from those nearest to it: [batch]. */
type Contrast = (input: MethodInput<Settings>, nearest: Value) => Value;

/** The score less `strength` times the mean logit of the nearest classes. */
const contrast: Contrast = ({ model, options: { strength = 0.6 } }, nearest) => {
  const { logits, score } = model.output;
  return score.sub(mean(gather(logits, nearest), 'rank').mul(strength));
};

const mapBy =
  (score: Contrast, alpha?: Weighting): MapOf<Settings> =>
  (input) => {
    const { model, layer, options } = input;
    if (!model.explained.isLogit) {
      throw new SightlineError(
        'INVALID_OPTION',
        'finer-cam compares logits, so it explains logits only; leave `score` out, or use grad-cam.',
      );
    }
    const base = { 'grad-cam': byMeanGradient, 'grad-cam++': byPlaces(alpha), 'layer-cam': byPositiveGradient }[
      options.base
    ];
    return combineChannels(
      base(readLayer(model, layer, score(input, nearestClasses(model, options.references)))),
      options,
    );
  };

/**
 * Finer-CAM: a CAM of what sets the class apart from the classes most like it. Explained is the score less `strength`
 * times the mean logit of the `references` classes whose logits are nearest.
 *
 * Zhang et al., Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation, CVPR 2025.
 */
export const finerCam = defineMethod({
  name: 'finer-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** The CAM that explains the difference. */
    base: oneOf('grad-cam', 'grad-cam++', 'layer-cam').default('grad-cam'),
    /** How many classes are compared with; as many as there are where the model has fewer. */
    references: count(1, 1000).default(3),
    /** Factor by which they count; 0 is the base method. Default 0.6, with `compat: 'pytorch-grad-cam'` 1. */
    strength: notNegative.optional(),
    /**
     * `pytorch-grad-cam`: references weighted by their probabilities; that and `torch-cam` choose their own
     * `grad-cam++` too.
     */
    compat: compatWith('pytorch-grad-cam', 'torch-cam'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer, hasRivals, gradientReachesLayer),
  map: mapBy(contrast),
  compat: {
    'pytorch-grad-cam': mapBy(pytorchGradCam.contrast, pytorchGradCam.placeWeights),
    'torch-cam': mapBy(contrast, torchCam.placeWeights),
  },
});
