import { SightlineError } from '../../support/errors.js';
import { contract, mean, narrow, rename, select, type SymbolicModel, type Value } from '../../symbolic/index.js';
import type { RowChoice, RowsChoice } from './settings.js';

function gridOf(model: SymbolicModel): NonNullable<SymbolicModel['inspection']['tokens']> {
  const grid = model.inspection.tokens;
  if (grid === null) throw new SightlineError('METHOD_NOT_APPLICABLE', 'The model has no grid of patches.');
  return grid;
}

/**
 * The place of the token whose row is asked for; null for the mean of the patches' rows.
 *
 * @throws SightlineError INVALID_OPTION where the model has no such token.
 */
export function tokenOf(model: SymbolicModel, choice: RowChoice): number | null {
  const { classToken, prefix, suffix, height, width } = gridOf(model);
  const refuse = (reason: string): never => {
    throw new SightlineError('INVALID_OPTION', `row is ${choice}, but ${reason}.`);
  };
  switch (choice) {
    case 'classifier':
      return classToken;
    case 'patches':
      return null;
    case 'class-token':
      return classToken ?? refuse('the model classifies the mean of its patches and has no class token');
    case 'distillation-token':
      // DeiT puts it directly after the class token. With more prefix tokens those are registers.
      return classToken === 0 && prefix === 2 && suffix === 0
        ? 1
        : refuse(`the model has ${prefix} tokens before its patches, where a distilled one has 2`);
    default: {
      const count = prefix + height * width + suffix;
      return choice < count ? choice : refuse(`the model has ${count} tokens, numbered from 0`);
    }
  }
}

/** A token's row of a matrix [batch, queries, keys], or the mean of the patches' rows or of all: [batch, keys]. */
export function rowOf(model: SymbolicModel, matrix: Value, choice: RowsChoice): Value {
  if (choice === 'tokens') return mean(matrix, 'queries');
  const token = tokenOf(model, choice);
  if (token !== null) return select(matrix, 'queries', token);
  const { prefix, height, width } = gridOf(model);
  return mean(narrow(matrix, 'queries', prefix, height * width), 'queries');
}

/**
 * What the classifier reads, in a matrix [batch, queries, keys]: the class token's row, or the mean of the patches'
 * rows.
 */
export function pooledRow(model: SymbolicModel, matrix: Value): Value {
  return rowOf(model, matrix, 'classifier');
}

/**
 * A row [batch, keys] of the last of `flow`, carried down through the product of all, last block leftmost: [batch,
 * keys].
 *
 * A vector times a matrix for each block gives the same row as the whole matrix product at an N-th of the cost.
 */
export function carryDown(row: Value, flow: readonly Value[]): Value {
  let carried = row;
  for (const matrix of flow.slice(0, -1).reverse()) {
    carried = contract(rename(carried, 'keys', 'queries'), matrix, 'queries');
  }
  return carried;
}
