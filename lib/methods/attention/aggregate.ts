import { add, eyeLike, rename, sum, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { carryDown, rowOf } from './rows.js';
import type { RowChoice } from './settings.js';

export interface Mixing {
  /** The share of a block's output that a token keeps of itself. */
  readonly residualWeight: number;
  /** Whether rows are divided by their sums. */
  readonly rowNormalisation: boolean;
}

/**
 * (1 - w) A + w I, each row divided by its sum: what a token becomes is in part what it was (Abnar & Zuidema 2020,
 * section 3, with w = 0.5). [batch, queries, keys].
 */
export function mixed(attention: Value, { residualWeight: weight, rowNormalisation }: Mixing): Value {
  const joined = weight === 0 ? attention : attention.mul(1 - weight).add(eyeLike(attention).mul(weight));
  if (!rowNormalisation) return joined;
  const sums = sum(joined, 'keys');
  // With a residual a row sums to at least its weight. Without one, a row that was discarded whole stays zero.
  return joined.div(weight === 0 ? sums.add(1e-30) : sums);
}

/**
 * (A + I) / 2 with COLUMN j divided by the sum of ROW j: what vit-explain's `a / a.sum(dim=-1)` does for want of
 * `keepdim`. The two are the same only where all rows have the same sum.
 */
export function mixedByColumns(attention: Value): Value {
  const joined = attention.mul(0.5).add(eyeLike(attention).mul(0.5));
  return joined.div(rename(sum(joined, 'keys'), 'queries', 'keys'));
}

/** A token's row of the product of all blocks' matrices, last block leftmost, or of their sum: [batch, height, width]. */
export function aggregate(model: SymbolicModel, flow: readonly Value[], { combine, row }: { readonly combine: 'product' | 'sum'; readonly row: RowChoice }): Value {
  if (combine === 'product') return model.patches(carryDown(rowOf(model, flow.at(-1)!, row), flow), 'keys');
  const rows = flow.map((matrix) => rowOf(model, matrix, row));
  return model.patches(rows.reduce((total, next) => add(total, next)), 'keys');
}
