import { z } from 'zod';

import {
  concatenate,
  contract,
  pick,
  rename,
  sqrt,
  square,
  sum,
  transpose,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { all, hasGlobalAttention, isInStream } from '../conditions.js';
import { flag } from '../fields.js';
import { defineMethod } from '../method.js';
import { normalizedRows } from './aggregate.js';
import { blockOutputOf, hasBlockOutputs } from './block-outputs.js';
import { chosenBlocks } from './blocks.js';
import { carryDown, rowOf } from './rows.js';
import { FIELDS, ROW } from './settings.js';

/** Each token's vector divided by its length: [batch, tokens, channels]. */
const directions = (tokens: Value): Value => tokens.div(sqrt(sum(square(tokens), 'channels')).add(1e-30));

/** 1 - cos of unit vectors as half their squared distance: near 0, where most of it lies, 1 - cos keeps no digits. */
const cosineDistance = (a: Value, b: Value): Value => sum(square(a.sub(b)), 'channels').mul(0.5);

/**
 * How far each token's output turns when another token's value is zeroed, rows summing to 1: [batch, queries, keys].
 *
 * Without the value of token t, the sum of attention and residual lacks sum over heads h of A_hit W_h v_ht in row i,
 * and nothing else: only the operators after that sum run again, no attention.
 */
function scores(model: SymbolicModel, block: number): Value {
  const node = blockOutputOf(model, block);
  const sums = model.output.residualMid(block);
  const outputOf = (changed: Value): Value => directions(model.resume([{ of: sums, to: changed }]).feature(node));
  // Run again as well, so that rounding is the same on both sides.
  const before = outputOf(sums);
  const attention = transpose(rename(model.output.attention(block), 'queries', 'tokens'), [
    'batch',
    'keys',
    'tokens',
    'heads',
  ]);
  const values = rename(model.output.value(block), 'channels', 'size');
  const projection = transpose(model.outputProjection(block), ['heads', 'size', 'channels']);
  const distances = concatenate(sums, model.inspection.attention[block]!.tokens, (token) => {
    // W_h v_ht, [batch, heads, channels], and what of it reaches each token, [batch, tokens, channels].
    const said = contract(pick(values, token, 'tokens'), projection, 'size');
    const lost = contract(pick(attention, token, 'keys'), said, 'heads');
    return cosineDistance(outputOf(sums.sub(lost)), before);
  });
  const matrix = rename(rename(distances, 'tokens', 'queries'), 'sample', 'keys');
  return normalizedRows(transpose(matrix, ['batch', 'queries', 'keys']));
}

/**
 * Value Zeroing: how much a token's output in a block turns (cosine distance) when another token's value vector is
 * zeroed in all heads. One block's class row, or rolled out over blocks without a residual: the block's output holds it
 * already. Not class-specific.
 *
 * Mohebbi, Zuidema, Chrupała & Alishahi, Quantifying Context Mixing in Transformers, EACL 2023.
 */
export const valueZeroing = defineMethod({
  name: 'value-zeroing',
  options: z.strictObject({
    /** The block, from 0; default the last. */
    block: FIELDS.block.optional(),
    /** Whether the blocks' scores are multiplied, from `startBlock` to `endBlock`. */
    rollout: flag.default(false),
    /** With `rollout`: the first block, from 0; default 0. */
    startBlock: FIELDS.block.optional(),
    /** With `rollout`: the last block, included; default the last. */
    endBlock: FIELDS.block.optional(),
    /** Whose row is the map: the token that is classified (or the mean of the patches), or another one. */
    row: ROW.row.default('classifier'),
  }),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: all(hasGlobalAttention, isInStream, hasBlockOutputs),
  map: ({ model, options }) => {
    const flow = chosenBlocks(model, options).map((block) => scores(model, block));
    return model.patches(carryDown(rowOf(model, flow.at(-1)!, options.row), flow), 'keys');
  },
});
