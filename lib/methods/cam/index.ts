import { cam } from './cam.js';
import { gradCam } from './grad-cam.js';

/** Class activation maps: methods that weigh the channels of a layer. */
export const CAM_METHODS = {
  cam,
  'grad-cam': gradCam,
} as const;
