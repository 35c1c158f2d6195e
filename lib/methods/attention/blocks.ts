import { SightlineError } from '../../errors.js';
import type { SymbolicModel } from '../../symbolic/index.js';

function placeOf(model: SymbolicModel, name: string, given: number): number {
  const count = model.inspection.attention.length;
  const place = given < 0 ? count + given : given;
  if (place < 0 || place >= count) {
    throw new SightlineError('INVALID_OPTION', `${name} is ${given}, but the model has ${count} attention blocks, numbered from 0; the last is also -1.`);
  }
  return place;
}

/**
 * The number of one block, negative ones counted from the end.
 *
 * @throws SightlineError INVALID_OPTION when there is no such block.
 */
export function blockOf(model: SymbolicModel, block: number): number {
  return placeOf(model, 'block', block);
}

/**
 * The numbers of the blocks from `startBlock` to `endBlock`, both included.
 *
 * @throws SightlineError INVALID_OPTION when there are no such blocks, or none between them.
 */
export function blocksBetween(model: SymbolicModel, { startBlock, endBlock }: { readonly startBlock: number; readonly endBlock: number }): number[] {
  const first = placeOf(model, 'startBlock', startBlock);
  const last = placeOf(model, 'endBlock', endBlock);
  if (last < first) throw new SightlineError('INVALID_OPTION', `endBlock is ${endBlock}, which lies before startBlock ${startBlock}; no attention block is left to explain.`);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
