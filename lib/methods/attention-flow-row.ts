import { SightlineError } from '../errors.js';
import { contract, eyeLike, grad, max, mean, min, narrow, relu, rename, select, sum, type SymbolicModel, type Value } from '../symbolic/index.js';

/** How several heads become one map. */
export const HEAD_FUSIONS = ['mean', 'max', 'min'] as const;
export type HeadFusion = (typeof HEAD_FUSIONS)[number];

/** [batch, heads, queries, keys] to [batch, queries, keys]. */
export function fuseHeads(attention: Value, fusion: HeadFusion): Value {
  return { mean, max, min }[fusion](attention, 'heads');
}

/**
 * What attention contributes to a score: the positive part of attention times its gradient, mean over heads. Positive
 * parts are taken before the mean, as in Chefer et al. 2021, so that heads do not cancel one another.
 */
export function positiveContribution(score: Value, attention: Value): Value {
  return mean(relu(attention.mul(grad(score, attention))), 'heads');
}

/**
 * 0.5 A + 0.5 I, each row divided by its sum: half of what a token becomes is what it was (Abnar & Zuidema 2020,
 * section 3). Rows sum to at least 0.5 before, so nothing is divided by zero.
 */
export function withResidual(attention: Value): Value {
  const mixed = attention.mul(0.5).add(eyeLike(attention).mul(0.5));
  return mixed.div(sum(mixed, 'keys'));
}

/** What the classifier reads, in a matrix [batch, queries, keys]: the class token's row, or the mean of the patches' rows. */
export function pooledRow(model: SymbolicModel, matrix: Value): Value {
  const grid = model.inspection.tokens;
  if (grid === null) throw new SightlineError('METHOD_NOT_APPLICABLE', 'The model has no grid of patches.');
  if (grid.classToken !== null) return select(matrix, 'queries', grid.classToken);
  return mean(narrow(matrix, 'queries', grid.prefix, grid.height * grid.width), 'queries');
}

/**
 * The classifier's row of the product of all blocks' matrices, last block leftmost: [batch, height, width].
 *
 * One row is carried from the last block down to the first, a vector times a matrix for each block; the whole matrix
 * product would give the same row at N times the cost.
 */
export function classRow(model: SymbolicModel, flow: readonly Value[]): Value {
  const last = flow.at(-1);
  if (last === undefined) throw new SightlineError('INVALID_OPTION', 'No attention block is left to explain.');
  let row = pooledRow(model, last);
  for (const matrix of flow.slice(0, -1).reverse()) row = contract(rename(row, 'keys', 'queries'), matrix, 'queries');
  return model.patches(row, 'keys');
}

/**
 * Attention of the blocks from `start` on.
 *
 * @throws SightlineError INVALID_OPTION when there are not so many.
 */
export function blocksFrom(model: SymbolicModel, start: number): Value[] {
  const count = model.inspection.attention.length;
  if (start >= count) throw new SightlineError('INVALID_OPTION', `startBlock is ${start}, but the model has ${count} attention blocks, numbered from 0.`);
  return model.inspection.attention.slice(start).map((_, i) => model.output.attention(start + i));
}
