import { z } from 'zod';

import { concatenate, pick, rename, split, sqrt, square, sum, transpose, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { all, hasGlobalAttention } from '../conditions.js';
import { defineMethod } from '../method.js';
import { blockOutputOf, hasBlockOutputs } from './block-outputs.js';
import { chosenBlocks } from './blocks.js';
import { product } from './products.js';
import { carryDown, rowOf } from './rows.js';
import { FIELDS } from './settings.js';

/** Each token's vector divided by its length: [batch, tokens, channels]. */
const directions = (tokens: Value): Value => tokens.div(sqrt(sum(square(tokens), 'channels')).add(1e-30));

/**
 * How far each token's output turns when another token's value is zeroed, rows summing to 1: [batch, queries, keys].
 *
 * Without the value of token t, the sum of attention and residual lacks sum over heads h of A_hit W_h v_ht in row i, and
 * nothing else: only what lies behind that sum is run again, no attention.
 */
function scores(model: SymbolicModel, block: number): Value {
  const name = blockOutputOf(model, block);
  const sums = model.output.mixed(block);
  // Run again as well, so that rounding is the same on both sides.
  const before = directions(model.resume([{ of: sums, to: sums }]).feature(name));
  const attention = transpose(model.output.attention(block), ['batch', 'keys', 'queries', 'heads']);
  const values = transpose(rename(model.output.value(block), 'channels', 'size'), ['batch', 'tokens', 'heads', 'size']);
  const projection = transpose(model.outputProjection(block), ['heads', 'size', 'channels']);
  const turns = concatenate(sums, model.inspection.attention[block]!.tokens, (token) => {
    // [batch, heads, channels]: each head's W_h v_ht, a row vector times a matrix.
    const said = sum(product(split(pick(values, token), 'size', { row: 1, size: model.inspection.attention[block]!.headSize }), projection), 'row');
    const lost = rename(product(pick(attention, token), said), 'queries', 'tokens');
    const after = directions(model.resume([{ of: sums, to: sums.sub(lost) }]).feature(name));
    // 1 - cos of two unit vectors as half their squared distance: near 0, where most of it lies, 1 - cos keeps no digits.
    return sum(square(after.sub(before)), 'channels').mul(0.5);
  });
  const matrix = transpose(rename(rename(turns, 'tokens', 'queries'), 'sample', 'keys'), ['batch', 'queries', 'keys']);
  return matrix.div(sum(matrix, 'keys').add(1e-30));
}

/**
 * Value Zeroing: how much a token's output in a block turns (cosine distance) when another token's value vector is zeroed
 * in all heads. One block's class row, or rolled out over blocks without a residual: the block's output holds it already.
 * Not class-specific.
 *
 * Mohebbi, Zuidema, Chrupała & Alishahi, Quantifying Context Mixing in Transformers, EACL 2023.
 */
export const valueZeroing = defineMethod({
  name: 'value-zeroing',
  options: z.strictObject({
    /** The block, from 0; default the last. */
    block: FIELDS.block.optional(),
    /** Whether the blocks' scores are multiplied, from `startBlock` to `endBlock`. */
    rollout: z.boolean({ error: 'give true or false' }).default(false),
    /** With `rollout`: the first block, from 0; default 0. */
    startBlock: FIELDS.block.optional(),
    /** With `rollout`: the last block, included; default the last. */
    endBlock: FIELDS.block.optional(),
    /** Whose row is the map: the token that is classified (or the mean of the patches), or another one. */
    row: FIELDS.row.default('classifier'),
  }),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: all(hasGlobalAttention, hasBlockOutputs),
  map: ({ model, options }) => {
    const flow = chosenBlocks(model, options).map((block) => scores(model, block));
    return model.patches(carryDown(rowOf(model, flow.at(-1)!, options.row), flow), 'keys');
  },
});
