import { z } from 'zod';

import { add, eyeLike, mean, relu, rename, select, sqrt, square, sum, transpose, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { hasGlobalAttention } from '../conditions.js';
import { defineMethod, type MapResult } from '../method.js';
import { mixed } from './aggregate.js';
import { chosenBlocks } from './blocks.js';
import { product, turned } from './products.js';
import { carryDown, rowOf, tokenOf } from './rows.js';
import { FIELDS } from './settings.js';

const VARIANTS = ['2020', 'residual', 'residual-norm'] as const;
type Variant = (typeof VARIANTS)[number];

interface Parts {
  /** Lengths of what each key's token adds to each query's: [batch, queries, keys]. */
  readonly norms: Value;
  /** The share of the other tokens in each token's output: [batch, queries]. */
  readonly mixing: Value;
}

const length = (vectors: Value): Value => sqrt(sum(square(vectors), 'channels'));

/** What a layer norm does to a part of its input, but for the division by the whole input's deviation: centred, times gamma. */
const normalisedPart = (vectors: Value, gamma: Value): Value => vectors.sub(mean(vectors, 'channels')).mul(gamma);

/** The deviation of each token that a layer norm divides by: [batch, queries]. 1e-6 is the epsilon of most vision transformers. */
function deviation(tokens: Value): Value {
  const centred = tokens.sub(mean(tokens, 'channels'));
  return rename(sqrt(mean(square(centred), 'channels').add(1e-6)), 'tokens', 'queries');
}

/**
 * The vectors that token j adds to token i in a block, v_ij = sum over heads h of A_hij f_h(x_j), as their lengths.
 *
 * They are never laid out: N x N vectors of a ViT-B/16 block are 120 MB. The products f_h(x_j) f_h'(x_j) of each token's
 * heads, a matrix [heads, heads] per token, give all lengths by |v_ij|^2 = sum over h, h' of A_hij A_h'ij f_h f_h'.
 */
function partsOf(model: SymbolicModel, block: number, variant: Variant): Parts {
  const run = model.output;
  const attention = run.attention(block);
  const values = rename(run.value(block), 'channels', 'size');
  const projection = transpose(model.outputProjection(block), ['heads', 'size', 'channels']);
  const gamma = variant === 'residual-norm' ? model.normWeight(block) : null;
  const part = (vectors: Value): Value => (gamma === null ? vectors : normalisedPart(vectors, gamma));

  // f_h(x_j), without the projection's bias, which belongs to no token: [batch, heads, tokens, channels].
  const transformed = part(product(values, projection));
  const perToken = transpose(transformed, ['batch', 'tokens', 'heads', 'channels']);
  const gram = rename(product(perToken, turned(rename(perToken, 'heads', 'others'))), 'tokens', 'keys');
  const weights = transpose(attention, ['batch', 'keys', 'queries', 'heads']);
  const squares = sum(product(weights, gram).mul(rename(weights, 'heads', 'others')), 'others');
  let norms = transpose(squares, ['batch', 'queries', 'keys']);

  // What the token keeps of itself, v_ii, and all that it gets: [batch, tokens, channels].
  const own = rename(sum(attention.mul(eyeLike(attention)), 'keys'), 'queries', 'tokens');
  let kept = sum(transformed.mul(own), 'heads');
  let whole = sum(product(rename(attention, 'queries', 'tokens'), rename(transformed, 'tokens', 'keys')), 'heads');
  if (variant !== '2020') {
    const residual = part(run.residual(block));
    const withResidual = add(kept, residual);
    norms = norms.add(eyeLike(norms).mul(rename(sum(square(withResidual), 'channels').sub(sum(square(kept), 'channels')), 'tokens', 'queries')));
    kept = withResidual;
    whole = whole.add(residual);
  }
  const others = length(whole.sub(kept));
  const lengths = sqrt(relu(norms));
  return {
    norms: variant === 'residual-norm' ? lengths.div(deviation(run.mixed(block))) : lengths,
    mixing: rename(others.div(others.add(length(kept)).add(1e-30)), 'tokens', 'queries'),
  };
}

/**
 * Norm-based attention: how long the vectors are that each token adds to the class token's output in a block, rather than
 * how large its attention weights are. `2020` as they are; `residual` with the token itself added by the residual
 * connection; `residual-norm` after the layer norm behind it. Not class-specific.
 *
 * Figures: `mixingRatio`, the share of other tokens in a token's output, mean over tokens (and blocks); `rowMixingRatio`,
 * that of the token whose row is the map.
 *
 * Kobayashi, Kuribayashi, Yokoi & Inui, Attention is Not Only a Weight, EMNLP 2020, and Incorporating Residual and
 * Normalization Layers into Analysis of Masked Language Models, EMNLP 2021.
 */
export const attentionNorms = defineMethod({
  name: 'attention-norms',
  options: z.strictObject({
    /** What is measured: attention's vectors, those with the residual, or those behind the layer norm. */
    variant: z.enum(VARIANTS, { error: `give ${VARIANTS.join(', ')}` }).default('2020'),
    /** The block, from 0; default the last. */
    block: FIELDS.block.optional(),
    /** Whether the blocks' matrices are multiplied, from `startBlock` to `endBlock`, rows brought to a sum of 1. */
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
  reasonAgainst: hasGlobalAttention,
  map: ({ model, options }): MapResult => {
    const { variant, rollout, row } = options;
    const parts = chosenBlocks(model, options).map((block) => partsOf(model, block, variant));
    // Without the residual in the vectors, rollout adds it as it does to attention.
    const residualWeight = variant === '2020' ? 0.5 : 0;
    const matrices = parts.map(({ norms }) => (rollout ? mixed(mixed(norms, { residualWeight: 0, rowNormalisation: true }), { residualWeight, rowNormalisation: true }) : norms));
    const map = model.patches(carryDown(rowOf(model, matrices.at(-1)!, row), matrices), 'keys');
    const overBlocks = (values: Value[]): Value => values.reduce((total, next) => add(total, next)).div(values.length);
    const token = tokenOf(model, row);
    return {
      map,
      figures: {
        mixingRatio: overBlocks(parts.map(({ mixing }) => mean(mixing, 'queries'))),
        rowMixingRatio: overBlocks(parts.map(({ mixing }) => (token === null ? patchMean(model, mixing) : select(mixing, 'queries', token)))),
      },
    };
  },
});

function patchMean(model: SymbolicModel, perToken: Value): Value {
  return mean(model.patches(perToken, 'queries'), ['height', 'width']);
}
