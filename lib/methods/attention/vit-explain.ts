import { SightlineError } from '../../support/errors.js';
import { sum, type Value } from '../../symbolic/index.js';
import type { Mixing } from './aggregate.js';

/**
 * vit-explain's division of columns by row sums is what its residual and normalisation are: no other will do beside it.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function checkVitExplain({ residualWeight, rowNormalisation, combine }: Mixing & { readonly combine: string }): void {
  if (residualWeight === 0.5 && rowNormalisation && combine === 'product') return;
  throw new SightlineError('INVALID_OPTION', "compat 'vit-explain' fixes residualWeight 0.5, rowNormalisation true and combine 'product'; leave these options out, or leave out compat.");
}

/**
 * The gradient with respect to the scores before the softmax, from that with respect to the probabilities:
 * A (g - sum over keys of A g), the derivative of the softmax. Both [batch, heads, queries, keys].
 *
 * vit-explain hooks its gradients on `attn_drop`, a dropout, by PyTorch's `register_backward_hook`. In inference mode a
 * dropout returns its own input, so the hook sees the operation before it, the softmax, and hands out that one's input.
 */
export function beforeSoftmax(attention: Value, gradient: Value): Value {
  const weighted = attention.mul(gradient);
  return weighted.sub(attention.mul(sum(weighted, 'keys')));
}
