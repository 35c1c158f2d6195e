import type { ObjectPlace } from '../requests/evaluate/mask.js';
import type { Target } from '../requests/targets.js';

/** A picture to judge: the class that is explained of it, and where that lies. */
export interface LabelledPicture {
  readonly image: string;
  readonly target: Target | null;
  readonly object: ObjectPlace | null;
}
