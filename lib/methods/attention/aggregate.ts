import { add, contract, eyeLike, rename, sum, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { carryDown, rowOf } from './rows.js';
import type { RowsChoice } from './settings.js';

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
  { combine, row }: { readonly combine: 'product' | 'sum'; readonly row: RowsChoice },
): Value {
  if (combine === 'product') return model.patches(carryDown(rowOf(model, flow.at(-1)!, row), flow), 'keys');
  const rows = flow.map((matrix) => rowOf(model, matrix, row));
  return model.patches(
    rows.reduce((total, next) => add(total, next)),
    'keys',
  );
}

/**
 * `aggregate` of the blocks' attention [batch, queries, keys], each mixed as `withResidual` does: [batch, height,
 * width].
 *
 * The mixed matrices are never made: r ((1 - w) A + w I) is (1 - w) r A + w r, and to divide rows by their sums is to
 * divide r by them first. So each block costs one product of a vector and a matrix.
 */
export function aggregateMixed(
  model: SymbolicModel,
  attentions: readonly Value[],
  options: Mixing & { readonly combine: 'product' | 'sum'; readonly row: RowsChoice },
): Value {
  const start = rowOf(model, eyeLike(attentions.at(-1)!), options.row);
  if (options.combine === 'product') {
    return model.patches(
      [...attentions].reverse().reduce((row, attention) => mixed(row, attention, options), start),
      'keys',
    );
  }
  return model.patches(
    attentions.map((attention) => mixed(start, attention, options)).reduce((total, next) => add(total, next)),
    'keys',
  );
}

/** A row [batch, keys] times one block's mixed matrix: [batch, keys]. */
function mixed(row: Value, attention: Value, { residualWeight: weight, rowNormalization }: Mixing): Value {
  const own = rename(row, 'keys', 'queries');
  const sums = sum(attention, 'keys');
  const spread = !rowNormalization ? own : own.div(weight === 0 ? sums.add(1e-30) : sums.mul(1 - weight).add(weight));
  const carried = contract(spread, attention, 'queries');
  return weight === 0 ? carried : carried.mul(1 - weight).add(rename(spread, 'queries', 'keys').mul(weight));
}
