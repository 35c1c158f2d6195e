import { z } from 'zod';

import { grad, mean, relu, scaleToUnit, sum, upsample } from '../../symbolic/index.js';
import { all, hasGradients, hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { channelsSchema, overChannels } from './channels.js';
import { withPresets } from './presets.js';

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
      interpolation: z.enum(['bilinear', 'bicubic', 'nearest'], { error: "'bilinear', 'bicubic' or 'nearest' is expected" }),
      /** How the product's colour channels become one number. */
      channels: channelsSchema,
    },
    { interpolation: 'bilinear', channels: 'max-abs' },
    {
      captum: { interpolation: 'nearest' },
      'pytorch-grad-cam': {},
    },
  ),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasTargetLayer),
  map: ({ model, options, layer }) => {
    const { height, width } = model.inspection;
    const { score } = model.output;
    const feature = model.output.feature(layer);
    const weights = mean(model.spatial(grad(score, feature), layer), ['height', 'width']);
    const cam = relu(sum(model.spatial(feature, layer).mul(weights), 'channels'));
    // pytorch-grad-cam multiplies by the finished map, whose least value is 0 before and after it is resized.
    const unit = options.compat === 'pytorch-grad-cam' ? scaleToUnit : <T>(map: T): T => map;
    const focus = unit(upsample(unit(cam), height, width, { mode: options.interpolation }));
    const guided = model.run(model.image, { rule: 'guided-backprop' });
    return overChannels(grad(guided.score, guided.image).mul(focus), options.channels);
  },
});
