import { z } from 'zod';

import { compatWith } from '../compat/peers.js';
import { all, gradientReachesLayer, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod, type MapOf } from '../method.js';
import { combineChannels, pipelineOptions, type PipelineSettings } from './pipeline.js';
import { readLayer } from './target-layer.js';
import { byMeanGradient } from './weightings.js';

const mapBy =
  ({ signed }: { readonly signed: boolean }): MapOf<PipelineSettings> =>
  ({ model, layer, options }) =>
    combineChannels(byMeanGradient(readLayer(model, layer)), { ...options, signed });

/**
 * Grad-CAM: a layer's channels, each weighted by the mean over space of the class score's gradient, summed, negative
 * parts cut off. In a ViT, space is the patches; prefix tokens are left out of the mean and of the map.
 *
 * Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
 */
export const gradCam = defineMethod({
  name: 'grad-cam',
  options: z.strictObject({
    ...pipelineOptions,
    /** `captum`: negative parts are kept, as LayerGradCam does by default. */
    compat: compatWith('captum'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer, gradientReachesLayer),
  map: mapBy({ signed: false }),
  compat: { captum: mapBy({ signed: true }) },
});
