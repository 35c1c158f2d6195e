import { ATTENTION_METHODS } from './attention/index.js';
import { CAM_METHODS } from './cam/index.js';
import { GRADIENT_METHODS } from './gradients/index.js';

/** Every method by its name. */
export const METHODS = { ...CAM_METHODS, ...ATTENTION_METHODS, ...GRADIENT_METHODS } as const;

/** The name of a bundled method. */
export type MethodName = keyof typeof METHODS;
/** The names of all bundled methods. */
export const METHOD_NAMES = Object.keys(METHODS) as MethodName[];
