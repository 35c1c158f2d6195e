import { attentionRollout } from './attention-rollout.js';
import { vitCx } from './attention/vit-cx.js';
import { CAM_METHODS } from './cam/index.js';
import { gae } from './gae.js';
import { gradientRollout } from './gradient-rollout.js';
import { rawAttention } from './raw-attention.js';

/** Every method by its name. */
export const METHODS = {
  ...CAM_METHODS,
  'raw-attention': rawAttention,
  'attention-rollout': attentionRollout,
  'gradient-rollout': gradientRollout,
  gae,
  'vit-cx': vitCx,
} as const;

export type MethodName = keyof typeof METHODS;
export const METHOD_NAMES = Object.keys(METHODS) as MethodName[];
