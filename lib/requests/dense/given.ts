/** Names by which a plan is given the targets of an image, one row or region each. */
export const CLASS = 'class';
export const BOX = 'box';
export const IS_SAID = 'is-said';
export const REGION = 'region';

/** What a plan for targets of masks or boxes has to compute; plans of other kinds are others. */
export interface DenseKind {
  /** Whether any says its places, or its box's class. */
  readonly isSaid: boolean;
  /** Whether any does not. */
  readonly isLeftOpen: boolean;
}
