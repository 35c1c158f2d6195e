import { ATTENTION_METHODS } from './attention/index.js';
import { cam } from './cam.js';
import { gradCam } from './grad-cam.js';

/** Every method by its name. */
export const METHODS = {
  cam,
  'grad-cam': gradCam,
  ...ATTENTION_METHODS,
} as const;

export type MethodName = keyof typeof METHODS;
export const METHOD_NAMES = Object.keys(METHODS) as MethodName[];
