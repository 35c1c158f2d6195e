import { add, eyeLike, sum, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { carryDown, rowOf } from './rows.js';
import type { RowChoice } from './settings.js';

export interface Mixing {
  /** The share of a block's output that a token keeps of itself. */
  readonly residualWeight: number;
  /** Whether rows are divided by their sums. */
  readonly rowNormalization: boolean;
}

/** Each row of [batch, queries, keys] divided by its sum. A row of zeros stays zero. */
export function normalizedRows(matrix: Value): Value {
  return matrix.div(sum(matrix, 'keys').add(1e-30));
}

/**
 * (1 - w) A + w I, each row divided by its sum: what a token becomes is in part what it was (Abnar & Zuidema 2020,
 * section 3, with w = 0.5). [batch, queries, keys].
 */
export function withResidual(attention: Value, { residualWeight: weight, rowNormalization }: Mixing): Value {
  const joined = weight === 0 ? attention : attention.mul(1 - weight).add(eyeLike(attention).mul(weight));
  if (!rowNormalization) return joined;
  // With a residual a row sums to at least its weight. Without one, a row that was discarded whole stays zero.
  return weight === 0 ? normalizedRows(joined) : joined.div(sum(joined, 'keys'));
}

/**
 * A token's row of the product of all blocks' matrices, last block leftmost, or of their sum: [batch, height, width].
 */
export function aggregate(
  model: SymbolicModel,
  flow: readonly Value[],
  { combine, row }: { readonly combine: 'product' | 'sum'; readonly row: RowChoice },
): Value {
  if (combine === 'product') return model.patches(carryDown(rowOf(model, flow.at(-1)!, row), flow), 'keys');
  const rows = flow.map((matrix) => rowOf(model, matrix, row));
  return model.patches(
    rows.reduce((total, next) => add(total, next)),
    'keys',
  );
}
