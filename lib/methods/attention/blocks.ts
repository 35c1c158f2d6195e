import { SightlineError } from '../../support/errors.js';
import type { SymbolicModel } from '../../symbolic/index.js';

function placeOf(model: SymbolicModel, name: string, given: number): number {
  const count = model.inspection.attention.length;
  const place = given < 0 ? count + given : given;
  if (place < 0 || place >= count) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${name} is ${given}, but the model has ${count} attention blocks, numbered from 0; the last is also -1.`,
    );
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
export function blocksBetween(
  model: SymbolicModel,
  { startBlock, endBlock }: { readonly startBlock: number; readonly endBlock: number },
): number[] {
  const first = placeOf(model, 'startBlock', startBlock);
  const last = placeOf(model, 'endBlock', endBlock);
  if (last < first) {
    throw new SightlineError(
      'INVALID_OPTION',
      `endBlock is ${endBlock}, which lies before startBlock ${startBlock}; no attention block is left to explain.`,
    );
  }
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

interface BlockChoice {
  readonly block?: number | undefined;
  readonly rollout: boolean;
  readonly startBlock?: number | undefined;
  readonly endBlock?: number | undefined;
}

/**
 * One block, or with `rollout` several.
 *
 * @throws SightlineError INVALID_OPTION where options of the one are given with the other.
 */
export function chosenBlocks(model: SymbolicModel, { block, rollout, startBlock, endBlock }: BlockChoice): number[] {
  if (rollout && block !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      'block names one block, which rollout does not take; give startBlock and endBlock, or leave rollout out.',
    );
  }
  if (!rollout && (startBlock ?? endBlock) !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      'startBlock and endBlock are for rollout; add rollout: true, or name one block by block.',
    );
  }
  return rollout
    ? blocksBetween(model, { startBlock: startBlock ?? 0, endBlock: endBlock ?? -1 })
    : [blockOf(model, block ?? -1)];
}
