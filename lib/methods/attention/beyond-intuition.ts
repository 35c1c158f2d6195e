import {
  abs,
  accumulate,
  contract,
  eyeLike,
  grad,
  mean,
  relu,
  rename,
  sqrt,
  square,
  sum,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { all, gradientReachesAttention, hasGlobalAttention, hasGradients, isInStream } from '../conditions.js';
import { count, oneOf } from '../fields.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { divideOrZero } from '../safe-division.js';
import { blocksBetween } from './blocks.js';
import { carryDown, pooledRow, tokenOf } from './rows.js';
import { BLOCKS } from './settings.js';

const length = (vectors: Value): Value => sqrt(sum(square(vectors), 'channels'));

/**
 * The mean attention of a block, each key's column times how much longer its token becomes by the values and the output
 * projection, |W_o v_j| / |z_j| of the token z_j that enters the block: [batch, queries, keys].
 */
function byTokens(model: SymbolicModel, block: number): Value {
  const run = model.output;
  const values = rename(run.value(block), 'channels', 'size');
  const projected = sum(contract(values, model.outputProjection(block), 'size'), 'heads');
  const growth = divideOrZero(length(projected), length(run.residual(block)));
  return mean(run.attention(block), 'heads').mul(rename(growth, 'tokens', 'keys'));
}

/**
 * The attention of a block, each head counting by how large its attention times the score's gradient is, the mean of
 * |Aᵀ dy/dA|; the heads' shares add up to 1: [batch, queries, keys].
 */
function byHeads(model: SymbolicModel, block: number): Value {
  const attention = model.output.attention(block);
  const gradient = rename(grad(model.output.score, attention), 'keys', 'others');
  const importance = mean(abs(contract(attention, gradient, 'queries')), ['keys', 'others']);
  return sum(attention.mul(divideOrZero(importance, sum(importance, 'heads'), 1e-30)), 'heads');
}

/**
 * Beyond Intuition: what the tokens handed to one another, times what the class made of it. Attention of each block,
 * scaled token by token or head by head, is multiplied through the blocks with its residual; the result is weighted by
 * the positive part of the score's gradient of the last attention, averaged on the way from nothing to the image.
 *
 * Chen, Li, Yu, Dou & Xiong, Beyond Intuition: Rethinking Token Attributions inside Transformers, TMLR 2023.
 */
export const beyondIntuition = defineMethod({
  name: 'beyond-intuition',
  options: withPresets(
    {
      /** How attention is scaled: by the length that each `token` gains, or by the gradient of each `head`. */
      scaling: oneOf('token', 'head'),
      /** Steps of the integrated gradient, at the fractions 0 to 1 of the image, both included. */
      steps: count(2),
      ...BLOCKS,
    },
    { scaling: 'token', steps: 20, startBlock: 0, endBlock: -1 },
    {
      presets: {
        // The blocks of the authors' perturbation tests of ViT-B/16, counted from 1 there: 7 and 4.
        'chen-2023-token': { scaling: 'token', startBlock: 6 },
        'chen-2023-head': { scaling: 'head', startBlock: 3 },
      },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: all(hasGradients, hasGlobalAttention, isInStream, gradientReachesAttention),
  map: ({ model, options }) => {
    const { image } = model;
    const { steps } = options;
    const scaled = blocksBetween(model, options).map((block) =>
      options.scaling === 'token' ? byTokens(model, block) : byHeads(model, block),
    );
    const flow = scaled.map((attention) => attention.add(eyeLike(attention)));
    const last = model.inspection.attention.length - 1;
    const gradients = accumulate(image, steps, (step) => {
      const run = model.run(image.mul(step.div(steps - 1)));
      return grad(run.score, run.attention(last));
    });
    const feedback = mean(relu(gradients.div(steps)), 'heads');
    // The class token's row needs no other; where the patches are read, the mean over them is one of products.
    if (tokenOf(model, 'classifier') !== null) {
      const row = carryDown(pooledRow(model, flow.at(-1)!), flow);
      return model.patches(row.mul(pooledRow(model, feedback)), 'keys');
    }
    const perception = flow.reduce((below, block) =>
      contract(rename(block, 'keys', 'between'), rename(below, 'queries', 'between'), 'between'),
    );
    return model.patches(pooledRow(model, perception.mul(feedback)), 'keys');
  },
});
