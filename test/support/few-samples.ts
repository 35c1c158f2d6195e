import type { MethodName } from '../../lib/index.js';

/** Options by which sampling methods take few samples, for tests of what does not need many. */
export const FEW_SAMPLES: Partial<Record<MethodName, object>> = {
  'is-cam': { steps: 3 },
  'opti-cam': { steps: 3 },
  'ss-cam': { samples: 3 },
  'smooth-grad': { samples: 3 },
  'var-grad': { samples: 3 },
  'integrated-gradients': { steps: 6 },
  'expected-gradients': { samples: 3 },
  'blur-ig': { steps: 4 },
  'beyond-intuition': { steps: 3 },
  'deeplift-shap': { samples: 3 },
  xrai: { steps: 3 },
  occlusion: { window: 9, stride: 8 },
  rise: { masks: 24, grid: 4 },
  'kernel-shap': { samples: 24, scale: 1000 },
  lime: { samples: 24, scale: 1000 },
};
