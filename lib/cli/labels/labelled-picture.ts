import type { ObjectPlace } from '../../requests/evaluate/mask.js';
import type { Target } from '../../requests/targets.js';

/** A picture to judge: the class that is explained of it, and where that lies. */
export interface LabelledPicture {
  readonly image: string;
  readonly target: Target | null;
  /** Null where nothing is said of it. */
  readonly object: LabelledObject | null;
}

/** Where the object lies. Masks are large, so they are read or drawn when the picture's turn comes. */
export interface LabelledObject {
  /** What the labels say of it, as JSON can hold it: equal for equal places. */
  readonly said: unknown;
  /** Of a mask in a file, that file. */
  readonly file?: string;
  /** @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE, INVALID_IMAGE, INVALID_INPUT: of this picture alone */
  readonly read: () => Promise<ObjectPlace>;
}

/** Labels as they were read, and what of them was left out. */
export interface Labels {
  readonly pictures: readonly LabelledPicture[];
  readonly notes: readonly string[];
}

/** How objects are read of labels that may have both. */
export type ObjectForm = 'boxes' | 'masks';

/** Four numbers: left, top, width, height. */
export type BoxNumbers = readonly [left: number, top: number, width: number, height: number];

export function boxesObject(boxes: readonly BoxNumbers[]): LabelledObject {
  const place = { boxes: boxes.map(([left, top, width, height]) => ({ left, top, width, height })) };
  return { said: { boxes }, read: () => Promise.resolve(place) };
}
