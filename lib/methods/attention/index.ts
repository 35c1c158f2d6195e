import { attentionFlow } from './attention-flow.js';
import { attentionNorms } from './attention-norms.js';
import { attentionRollout } from './attention-rollout.js';
import { attnLrp } from './attn-lrp.js';
import { beyondIntuition } from './beyond-intuition.js';
import { cpLrp } from './cp-lrp.js';
import { gae } from './gae.js';
import { gradientRollout } from './gradient-rollout.js';
import { leGrad } from './le-grad.js';
import { rawAttention } from './raw-attention.js';
import { transformerAttribution } from './transformer-attribution.js';
import { valueZeroing } from './value-zeroing.js';
import { vitCx } from './vit-cx.js';

/** The methods that read attention, by name. */
export const ATTENTION_METHODS = {
  'raw-attention': rawAttention,
  'attention-rollout': attentionRollout,
  'gradient-rollout': gradientRollout,
  gae,
  'beyond-intuition': beyondIntuition,
  'attention-flow': attentionFlow,
  'attention-norms': attentionNorms,
  'value-zeroing': valueZeroing,
  'vit-cx': vitCx,
  'le-grad': leGrad,
  'transformer-attribution': transformerAttribution,
  'attn-lrp': attnLrp,
  'cp-lrp': cpLrp,
} as const;
