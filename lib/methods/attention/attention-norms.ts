import { z } from 'zod';

import {
  add,
  contract,
  diagonal,
  eyeLike,
  mean,
  relu,
  rename,
  select,
  sqrt,
  square,
  sum,
  transpose,
  where,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { all, hasGlobalAttention, isInStream } from '../conditions.js';
import { flag } from '../fields.js';
import { defineMethod, type MapResult } from '../method.js';
import { withResidual, normalizedRows } from './aggregate.js';
import { chosenBlocks } from './blocks.js';
import { carryDown, rowOf, tokenOf } from './rows.js';
import { FIELDS, ROW } from './settings.js';

const VARIANTS = ['2020', 'residual', 'residual-norm'] as const;
type Variant = (typeof VARIANTS)[number];

interface Parts {
  /** Lengths of what each key's token adds to each query's: [batch, queries, keys]. */
  readonly norms: Value;
  /** The share of the other tokens in each token's output: [batch, queries]. */
  readonly mixing: Value;
}

const squaredLength = (vectors: Value): Value => sum(square(vectors), 'channels');
const length = (vectors: Value): Value => sqrt(squaredLength(vectors));
const centered = (vectors: Value): Value => vectors.sub(mean(vectors, 'channels'));

/**
 * |v_ij|² of v_ij = sum over heads h of A_hij f_h(x_j): [batch, queries, keys].
 *
 * The vectors are never laid out: N x N of them in a ViT-B/16 block are 120 MB. The products of each token's heads,
 * G_jhg = f_h(x_j) · f_g(x_j), give all lengths: |v_ij|² = sum over h, g of A_hij G_jhg A_gij.
 */
function squaredLengths(attention: Value, transformed: Value): Value {
  const products = contract(transformed, rename(transformed, 'heads', 'others'), 'channels');
  const weighted = contract(attention, products, 'heads');
  return transpose(sum(weighted.mul(rename(attention, 'heads', 'others')), 'others'), ['batch', 'queries', 'keys']);
}

/** What a block's tokens add to one another, in the sense of the variant. */
function partsOf(model: SymbolicModel, block: number, variant: Variant): Parts {
  const run = model.output;
  const attention = run.attention(block);
  const gamma = variant === 'residual-norm' ? model.normWeight(block) : null;
  // What a layer norm does to a part of its input, but for the division by the whole input's deviation.
  const part = (vectors: Value): Value => (gamma === null ? vectors : centered(vectors).mul(gamma));

  // f_h(x_j), without the projection's bias, which belongs to no token: [batch, heads, keys, channels].
  const values = rename(rename(run.value(block), 'channels', 'size'), 'tokens', 'keys');
  const transformed = part(contract(values, model.outputProjection(block), 'size'));
  // The whole output of attention, and of it what each token keeps of itself, v_ii: [batch, queries, channels].
  const output = sum(contract(attention, transformed, 'keys'), 'heads');
  const kept = sum(rename(transformed, 'keys', 'queries').mul(diagonal(attention, 'queries', 'keys')), 'heads');
  // With the residual each token keeps itself as well.
  const residual = variant === '2020' ? null : part(rename(run.residual(block), 'tokens', 'queries'));
  const own = residual === null ? kept : kept.add(residual);
  const whole = residual === null ? output : output.add(residual);

  const squares = squaredLengths(attention, transformed);
  const lengths = sqrt(relu(residual === null ? squares : where(eyeLike(squares), squaredLength(own), squares)));
  const others = length(whole.sub(own));
  return {
    norms: variant === 'residual-norm' ? lengths.div(deviation(run.residualMid(block))) : lengths,
    mixing: others.div(others.add(length(own)).add(1e-30)),
  };
}

/**
 * The deviation of each token that a layer norm divides by: [batch, queries]. 1e-6 is the epsilon of most vision
 * transformers.
 */
function deviation(tokens: Value): Value {
  return rename(sqrt(mean(square(centered(tokens)), 'channels').add(1e-6)), 'tokens', 'queries');
}

/**
 * Norm-based attention: how long the vectors are that each token adds to the class token's output in a block, rather
 * than how large its attention weights are. `2020` as they are; `residual` with the token itself added by the residual
 * connection; `residual-norm` after the layer norm that follows. Not class-specific.
 *
 * Figures: `mixingRatio`, the share of other tokens in a token's output, mean over tokens (and blocks);
 * `rowMixingRatio`, that of the token whose row is the map.
 *
 * Kobayashi, Kuribayashi, Yokoi & Inui, Attention is Not Only a Weight, EMNLP 2020, and Incorporating Residual and
 * Normalization Layers into Analysis of Masked Language Models, EMNLP 2021.
 */
export const attentionNorms = defineMethod({
  name: 'attention-norms',
  options: z.strictObject({
    /** The vectors that are measured: attention's own, those with the residual, or those after the layer norm. */
    variant: z.enum(VARIANTS, { error: `give ${VARIANTS.join(', ')}` }).default('2020'),
    /** The block, from 0; default the last. */
    block: FIELDS.block.optional(),
    /** Whether the blocks' matrices are multiplied, from `startBlock` to `endBlock`, rows brought to a sum of 1. */
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
  reasonAgainst: all(hasGlobalAttention, isInStream),
  map: ({ model, options }): MapResult => {
    const { variant, rollout, row } = options;
    const parts = chosenBlocks(model, options).map((block) => partsOf(model, block, variant));
    // Without the residual in the vectors, rollout adds it as it does to attention.
    const residualWeight = variant === '2020' ? 0.5 : 0;
    const matrices = parts.map(({ norms }) =>
      rollout ? withResidual(normalizedRows(norms), { residualWeight, rowNormalization: true }) : norms,
    );
    const token = tokenOf(model, row);
    const ofRow = (values: Value): Value =>
      token === null ? mean(model.patches(values, 'queries'), SPACE) : select(values, 'queries', token);
    const overBlocks = (figure: (mixing: Value) => Value): Value =>
      parts
        .map(({ mixing }) => figure(mixing))
        .reduce((total, next) => add(total, next))
        .div(parts.length);
    return {
      map: model.patches(carryDown(rowOf(model, matrices.at(-1)!, row), matrices), 'keys'),
      figures: { mixingRatio: overBlocks((mixing) => mean(mixing, 'queries')), rowMixingRatio: overBlocks(ofRow) },
    };
  },
});
