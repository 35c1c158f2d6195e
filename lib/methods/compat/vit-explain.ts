/** What vit-explain (Gildenblat 2020) computes otherwise than rollout is defined, its bugs included. */
import { SightlineError } from '../../support/errors.js';
import { eyeLike, grad, highest, rename, sum, zeroSmallest, type Value } from '../../symbolic/index.js';
import { aggregate, type Mixing } from '../attention/aggregate.js';
import { blocksBetween } from '../attention/blocks.js';
import { fuseHeads, fuseWithGradient } from '../attention/heads.js';
import type { GradientFusion, HeadFusion, RowsChoice } from '../attention/settings.js';
import type { MapOf } from '../method.js';

interface Settings extends Mixing {
  readonly discardRatio: number;
  readonly startBlock: number;
  readonly endBlock: number;
  readonly combine: 'product' | 'sum';
  readonly row: RowsChoice;
}

/**
 * Its division of columns by row sums is what its residual and normalization are: no other will do beside it.
 *
 * @throws SightlineError INVALID_OPTION
 */
function checkSettings({ residualWeight, rowNormalization, combine }: Settings): void {
  if (residualWeight === 0.5 && rowNormalization && combine === 'product') return;
  throw new SightlineError(
    'INVALID_OPTION',
    "compat 'vit-explain' fixes residualWeight 0.5, rowNormalization true and combine 'product'; leave these options out, or leave out compat.",
  );
}

/**
 * (A + I) / 2 with COLUMN j divided by the sum of ROW j: what its `a / a.sum(dim=-1)` does for want of `keepdim`. The
 * two are the same only where all rows have the same sum.
 */
export function mixedByColumns(attention: Value): Value {
  const joined = attention.mul(0.5).add(eyeLike(attention).mul(0.5));
  return joined.div(rename(sum(joined, 'keys'), 'queries', 'keys'));
}

const dividedByMaximum = (map: Value): Value => map.div(highest(map).add(1e-30));

/** Attention rollout: columns divided by row sums, the map by its maximum. */
export const attentionRollout: MapOf<Settings & { readonly headFusion: HeadFusion }> = ({ model, options }) => {
  checkSettings(options);
  const flow = blocksBetween(model, options).map((block) => {
    const fused = fuseHeads(model, block, model.output.attention(block), options.headFusion);
    return mixedByColumns(zeroSmallest(fused, options.discardRatio, true));
  });
  return dividedByMaximum(aggregate(model, flow, options));
};

/**
 * The gradient with respect to the scores before the softmax, from that with respect to the probabilities:
 * A (g - sum over keys of A g), the derivative of the softmax. Both [batch, heads, queries, keys].
 *
 * It hooks its gradients on `attn_drop`, a dropout, by PyTorch's `register_backward_hook`. In inference mode a dropout
 * returns its own input, so the hook sees the operation before it, the softmax, and hands out that one's input.
 */
function beforeSoftmax(attention: Value, gradient: Value): Value {
  const weighted = attention.mul(gradient);
  return weighted.sub(attention.mul(sum(weighted, 'keys')));
}

/** Gradient rollout: as attention rollout, and each block with another's gradient, of the scores before the softmax. */
export const gradientRollout: MapOf<Settings & { readonly headFusion: GradientFusion }> = ({ model, options }) => {
  checkSettings(options);
  const { score, attentions } = model.output;
  const flow = blocksBetween(model, options).map((block) => {
    // It collects gradients in the order of the backward pass and pairs them with attention in that of the forward
    // pass.
    const paired = attentions[attentions.length - 1 - block]!;
    const fused = fuseWithGradient(
      model,
      block,
      attentions[block]!,
      beforeSoftmax(paired, grad(score, paired)),
      options.headFusion,
    );
    return mixedByColumns(zeroSmallest(fused, options.discardRatio, false));
  });
  return dividedByMaximum(aggregate(model, flow, options));
};
