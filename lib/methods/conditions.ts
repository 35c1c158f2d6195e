import type { Inspection } from '../inspection.js';

type Condition = (inspection: Inspection) => string | null;

/** All conditions, the first that is not met speaking. */
export const all =
  (...conditions: Condition[]): Condition =>
  (inspection) => {
    for (const condition of conditions) {
      const reason = condition(inspection);
      if (reason !== null) return reason;
    }
    return null;
  };

export const hasGradients: Condition = ({ isQuantized }) => (isQuantized ? 'its weights are quantised, and quantised operators have no gradients' : null);

export const hasPooledHead: Condition = ({ head }) =>
  head === null ? 'its classifier is not one linear layer on a spatially averaged feature' : null;

export const hasTargetLayer: Condition = ({ targetLayer }) => (targetLayer === '' ? 'it has no layer with spatial axes' : null);

export const hasGlobalAttention: Condition = ({ attention, tokens }) => {
  if (attention.length === 0) return 'it has no attention';
  if (attention.some(({ windows }) => windows > 1)) return 'its attention is windowed, so no token sees the whole image';
  const opaque = attention.find((site) => site.opaque !== '');
  if (opaque) return opaque.opaque;
  return tokens === null ? 'its tokens do not lie in a grid of patches' : null;
};
