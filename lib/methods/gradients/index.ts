import { blurIg } from './blur-ig.js';
import { deeplift, deepliftShap } from './deeplift.js';
import { expectedGradients } from './expected-gradients.js';
import { guidedGradCam } from './guided-grad-cam.js';
import { inputXGradient } from './input-x-gradient.js';
import { integratedGradients } from './integrated-gradients.js';
import { kernelShap } from './kernel-shap.js';
import { lime } from './lime.js';
import { occlusion } from './occlusion.js';
import { deconvnet, gradient, guidedBackprop } from './pixel-gradients.js';
import { rise } from './rise.js';
import { smoothGrad } from './smooth-grad.js';
import { varGrad } from './var-grad.js';
import { xrai } from './xrai.js';

/** Gradients with respect to the image, and perturbations of it. */
export const GRADIENT_METHODS = {
  gradient,
  'input-x-gradient': inputXGradient,
  'smooth-grad': smoothGrad,
  'var-grad': varGrad,
  'integrated-gradients': integratedGradients,
  'expected-gradients': expectedGradients,
  'blur-ig': blurIg,
  deeplift,
  'deeplift-shap': deepliftShap,
  xrai,
  'guided-backprop': guidedBackprop,
  'guided-grad-cam': guidedGradCam,
  deconvnet,
  occlusion,
  rise,
  'kernel-shap': kernelShap,
  lime,
} as const;
