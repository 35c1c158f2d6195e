import { z } from 'zod';

import { grad, type Rule } from '../../symbolic/index.js';
import { all, followsRule, gradientReachesImage, hasGradients } from '../conditions.js';
import { defineMethod } from '../method.js';
import { channelsSchema, overChannels } from './channels.js';

/** The gradient with respect to each pixel, or what a rule lets back in its place. */
const pixelGradient = ({ name, rule }: { readonly name: string; readonly rule?: Rule }) =>
  defineMethod({
    name,
    options: z.strictObject({
      /** How the color channels become one number. */
      channels: channelsSchema.default('max-abs'),
    }),
    usesLayer: false,
    isClassSpecific: true,
    reasonAgainst: all(hasGradients, ...(rule === undefined ? [] : [followsRule(rule)]), gradientReachesImage),
    map: ({ model, options }) => {
      const run = rule === undefined ? model.output : model.run(model.image, { rule });
      return overChannels(grad(run.score, run.image), options.channels);
    },
  });

/**
 * Saliency: the class score's gradient with respect to each pixel, the largest magnitude of its color channels.
 *
 * Simonyan, Vedaldi & Zisserman, Deep Inside Convolutional Networks: Visualising Image Classification Models and
 * Saliency Maps, ICLR workshop 2014.
 */
export const gradient = pixelGradient({ name: 'gradient' });

/**
 * Deconvolutional network: the gradient with respect to each pixel, where every ReLU lets back the positive gradients,
 * whatever its activation was. Smooth activations (GELU, SiLU) are treated as ReLUs are.
 *
 * Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.
 */
export const deconvnet = pixelGradient({ name: 'deconvnet', rule: 'deconvnet' });

/**
 * Guided backpropagation: the gradient with respect to each pixel, where every ReLU lets back only positive gradients
 * through, and those only where it let the activation through. Smooth activations (GELU, SiLU) are treated as ReLUs
 * are: what their derivative lets back is cut to its positive part.
 *
 * Springenberg et al., Striving for Simplicity: The All Convolutional Net, ICLR workshop 2015.
 */
export const guidedBackprop = pixelGradient({ name: 'guided-backprop', rule: 'guided-backprop' });
