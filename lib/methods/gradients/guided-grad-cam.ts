import { grad, scaleToUnit, upsample, type Value } from '../../symbolic/index.js';
import { combineChannels } from '../cam/pipeline.js';
import { readLayer } from '../cam/target-layer.js';
import { byMeanGradient } from '../cam/weightings.js';
import {
  all,
  followsRule,
  gradientReachesImage,
  gradientReachesLayer,
  hasGradients,
  hasTargetLayer,
} from '../conditions.js';
import { oneOf } from '../fields.js';
import { defineMethod, type MapOf } from '../method.js';
import { withPresets } from '../presets.js';
import { channelsSchema, overChannels, type Channels } from './channels.js';

/** Guided backpropagation times Grad-CAM; `scaled` is what is done to the latter, before it is resized and after. */
const mapBy =
  (
    scaled: (map: Value) => Value,
  ): MapOf<{ readonly interpolation: 'bilinear' | 'bicubic' | 'nearest'; readonly channels: Channels }> =>
  ({ model, options, layer }) => {
    const { height, width } = model.inspection;
    const cam = combineChannels(byMeanGradient(readLayer(model, layer)), { eigenSmoothing: false });
    const focus = scaled(upsample(scaled(cam), height, width, { mode: options.interpolation }));
    const guided = model.run(model.image, { rule: 'guided-backprop' });
    return overChannels(grad(guided.score, guided.image).mul(focus), options.channels);
  };

/**
 * Guided Grad-CAM: guided backpropagation times the layer's Grad-CAM, which is brought to the image's size.
 *
 * Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
 */
export const guidedGradCam = defineMethod({
  name: 'guided-grad-cam',
  options: withPresets(
    {
      /** How Grad-CAM is brought to the image's size. */
      interpolation: oneOf('bilinear', 'bicubic', 'nearest'),
      /** How the product's color channels become one number. */
      channels: channelsSchema,
    },
    { interpolation: 'bilinear', channels: 'max-abs' },
    {
      packages: {
        captum: { interpolation: 'nearest' },
        'pytorch-grad-cam': {},
      },
    },
  ),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(
    hasGradients,
    hasTargetLayer,
    followsRule('guided-backprop'),
    gradientReachesImage,
    gradientReachesLayer,
  ),
  map: mapBy((map) => map),
  // It multiplies by the finished map, whose least value is 0 before and after it is resized.
  compat: { 'pytorch-grad-cam': mapBy(scaleToUnit) },
});
