import type { Inspection } from '../../inspection.js';

const SMOOTH = /^(gelu|silu|swish|mish|elu|selu|celu|softplus|hardswish|leaky_relu|prelu)_?$/;
const RECTIFIER = /^(relu|relu6|hardtanh|threshold|clamp_min)_?$/;

/**
 * Whether the rules for rectifiers have anything to act on. Where a model's activations are visibly others, they would
 * silently give the plain gradient, as they do in other libraries.
 */
export function hasRectifiers({ nodes }: Inspection): string | null {
  // Rectifiers called as functions are no modules, so that none is seen does not mean that there is none.
  if (nodes.some(({ operator }) => RECTIFIER.test(operator))) return null;
  const other = nodes.find(({ operator }) => SMOOTH.test(operator));
  return other ? `it changes the gradients of ReLUs, and the model's activations are others ("${other.name}" is ${other.operator}); use gradient` : null;
}
