import { SightlineError } from '../../support/errors.js';
import {
  abs,
  max,
  mean,
  min,
  narrow,
  relu,
  select,
  sqrt,
  square,
  sum,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { divideOrZero } from '../safe-division.js';
import type { GradientFusion, HeadFusion } from './settings.js';

function oneHead(attention: Value, head: number, heads: number): Value {
  if (head >= heads) {
    throw new SightlineError(
      'INVALID_OPTION',
      `headFusion is ${head}, but the attention has ${heads} heads, numbered from 0.`,
    );
  }
  return select(attention, 'heads', head);
}

const headsOf = (model: SymbolicModel, block: number): number => model.inspection.attention[block]!.heads;

/** Attention of a block [batch, heads, queries, keys] as one matrix [batch, queries, keys]. */
export function fuseHeads(model: SymbolicModel, block: number, attention: Value, fusion: HeadFusion): Value {
  if (typeof fusion === 'number') return oneHead(attention, fusion, headsOf(model, block));
  return { mean, max, min }[fusion](attention, 'heads');
}

/** Attention summed over heads, each weighted by its share of what the norms [batch, heads] add up to. */
function byNorm(attention: Value, norms: Value): Value {
  return sum(attention.mul(divideOrZero(norms, sum(norms, 'heads'), 1e-30)), 'heads');
}

/**
 * Attention weighted by the score's gradient with respect to it, negative parts cut off: [batch, queries, keys].
 * `positive-part` cuts before the mean over heads, so that heads do not cancel one another (Chefer et al. 2021).
 * `gradient-l1` and `gradient-l2` weigh whole heads by the gradient's norm (Jo et al. 2025).
 */
export function fuseWithGradient(
  model: SymbolicModel,
  block: number,
  attention: Value,
  gradient: Value,
  fusion: GradientFusion,
): Value {
  const weighted = attention.mul(gradient);
  if (typeof fusion === 'number') return relu(oneHead(weighted, fusion, headsOf(model, block)));
  switch (fusion) {
    case 'positive-part':
      return mean(relu(weighted), 'heads');
    case 'gradient-weighted':
      return relu(mean(weighted, 'heads'));
    case 'grad-cam': {
      const grid = model.inspection.tokens!;
      const weights = mean(narrow(gradient, 'keys', grid.prefix, grid.height * grid.width), 'keys');
      return relu(mean(attention.mul(weights), 'heads'));
    }
    case 'gradient-l1':
      return byNorm(attention, sum(abs(gradient), ['queries', 'keys']));
    case 'gradient-l2':
      return byNorm(attention, sqrt(sum(square(gradient), ['queries', 'keys'])));
    default:
      return { max, min }[fusion](relu(weighted), 'heads');
  }
}
