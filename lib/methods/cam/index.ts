import { ablationCam } from './ablation-cam.js';
import { cam } from './cam.js';
import { deepFeatureFactorization } from './deep-feature-factorization.js';
import { gradCam } from './grad-cam.js';
import { isCam } from './is-cam.js';
import { scoreCam } from './score-cam.js';
import { smoothGradCamPlusPlus } from './smooth-grad-cam-plus-plus.js';
import { ssCam } from './ss-cam.js';

/** Class activation maps: methods that weigh the channels of a layer. */
export const CAM_METHODS = {
  cam,
  'grad-cam': gradCam,
  'score-cam': scoreCam,
  'ss-cam': ssCam,
  'is-cam': isCam,
  'smooth-grad-cam++': smoothGradCamPlusPlus,
  'ablation-cam': ablationCam,
  'deep-feature-factorization': deepFeatureFactorization,
} as const;
