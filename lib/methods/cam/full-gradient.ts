import type { Inspection, NodeInfo } from '../../engine/inspection.js';
import {
  abs,
  grad,
  max,
  mean,
  min,
  sum,
  upsample,
  type Axis,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import type { MapOf } from '../method.js';

/** How each term is brought to [0, 1], and how it is laid over the image. */
export interface Rescaling {
  readonly over: readonly Axis[];
  readonly epsilon: number;
  readonly alignCorners: boolean;
}

/** Convolutions and batch norms that add something to their input. */
export function biasedNodes({ nodes }: Inspection): NodeInfo[] {
  return nodes.filter(({ hasBias, layout }) => hasBias && layout === 'channels-first');
}

/** |term| to [0, 1], summed over channels, on the image. */
function laidOver(term: Value, { over, epsilon, alignCorners }: Rescaling, model: SymbolicModel): Value {
  const size = abs(term);
  const raised = size.sub(min(size, over));
  const scaled = raised.div(max(raised, over).add(epsilon));
  // Summed first: upsampling is linear, and of hundreds of channels it would fill the memory.
  return upsample(sum(scaled, 'channels'), model.inspection.height, model.inspection.width, { alignCorners });
}

/**
 * By how far the terms miss the logit: [batch]. Null where the last layer's own bias is not known. The terms add up to
 * the logit where the network is piecewise linear.
 */
function completenessError(model: SymbolicModel, terms: readonly Value[]): Value | null {
  const { head } = model.inspection;
  if (head === null || head.layout !== 'channels-first' || !model.explained.isLogit) return null;
  const withoutBias = sum(
    mean(model.spatial(model.output.feature(head.feature), head.feature), SPACE).mul(model.headRow()),
    'channels',
  );
  return terms.map((term) => sum(term, ['channels', ...SPACE])).reduce((rest, term) => rest.sub(term), withoutBias);
}

/** The sum of input times gradient and of each bias times gradient, each rescaled. */
export const fullGradient =
  (rescaling: Rescaling): MapOf<unknown> =>
  ({ model }) => {
    const { score, image } = model.output;
    const terms = [
      image.mul(grad(score, image)),
      ...biasedNodes(model.inspection).map(({ name }) => grad(score, model.output.feature(name)).mul(model.bias(name))),
    ];
    const map = terms.map((term) => laidOver(term, rescaling, model)).reduce((total, term) => total.add(term));
    const error = completenessError(model, terms);
    return error === null ? map : { map, figures: { completenessError: error } };
  };
