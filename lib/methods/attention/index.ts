import { attentionRollout } from './attention-rollout.js';
import { gae } from './gae.js';
import { gradientRollout } from './gradient-rollout.js';
import { rawAttention } from './raw-attention.js';

/** The methods that read attention, by name. */
export const ATTENTION_METHODS = {
  'raw-attention': rawAttention,
  'attention-rollout': attentionRollout,
  'gradient-rollout': gradientRollout,
  gae,
} as const;
