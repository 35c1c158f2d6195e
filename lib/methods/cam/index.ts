import { ablationCam } from './ablation-cam.js';
import { cam } from './cam.js';
import { eigenCam, eigenGradCam, kpcaCam } from './component-cams.js';
import { deepFeatureFactorization } from './deep-feature-factorization.js';
import { fem } from './fem.js';
import { finerCam } from './finer-cam.js';
import { fullGrad } from './full-grad.js';
import { gradCamPlusPlus } from './grad-cam-plus-plus.js';
import { elementwiseGradCam, hiResCam } from './gradient-cams.js';
import { gradCam } from './grad-cam.js';
import { isCam } from './is-cam.js';
import { layerCam } from './layer-cam.js';
import { optiCam } from './opti-cam.js';
import { polyCam } from './poly-cam.js';
import { randomCam } from './random-cam.js';
import { reciproCam, vitReciproCam } from './recipro-cam.js';
import { scoreCam } from './score-cam.js';
import { shapleyCam } from './shapley-cam.js';
import { smoothGradCamPlusPlus } from './smooth-grad-cam-plus-plus.js';
import { ssCam } from './ss-cam.js';
import { xGradCam } from './xgrad-cam.js';

/** Class activation maps: methods that weigh the channels of a layer. */
export const CAM_METHODS = {
  cam,
  'grad-cam': gradCam,
  'grad-cam++': gradCamPlusPlus,
  'hires-cam': hiResCam,
  'elementwise-grad-cam': elementwiseGradCam,
  'xgrad-cam': xGradCam,
  'layer-cam': layerCam,
  'eigen-cam': eigenCam,
  'eigen-grad-cam': eigenGradCam,
  'kpca-cam': kpcaCam,
  'score-cam': scoreCam,
  'ss-cam': ssCam,
  'is-cam': isCam,
  'smooth-grad-cam++': smoothGradCamPlusPlus,
  'opti-cam': optiCam,
  'poly-cam': polyCam,
  'ablation-cam': ablationCam,
  'recipro-cam': reciproCam,
  'vit-recipro-cam': vitReciproCam,
  'full-grad': fullGrad,
  'shapley-cam': shapleyCam,
  'finer-cam': finerCam,
  fem,
  'random-cam': randomCam,
  'deep-feature-factorization': deepFeatureFactorization,
} as const;
