import { ATTENTION_METHODS } from './attention/index.js';
import { CAM_METHODS } from './cam/index.js';
import { GRADIENT_METHODS } from './gradients/index.js';

/** Every method by its name. */
export const METHODS = { ...CAM_METHODS, ...ATTENTION_METHODS, ...GRADIENT_METHODS } as const;

export type MethodName = keyof typeof METHODS;
export const METHOD_NAMES = Object.keys(METHODS) as MethodName[];
