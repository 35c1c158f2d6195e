import {
  attentionFlow as maximumFlow,
  constant,
  expandLike,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { hasGlobalAttention } from '../conditions.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { withResidual, normalizedRows } from './aggregate.js';
import { blocksBetween } from './blocks.js';
import { fuseHeads } from './heads.js';
import { tokenOf } from './rows.js';
import { BLOCKS, FIELDS } from './settings.js';

/**
 * One more layer, in which every token reads all patches alike: where the classifier reads the mean of the patches, its
 * flow starts above this layer. [batch, queries, keys].
 */
function poolingLayer(model: SymbolicModel, like: Value): Value {
  const { prefix, suffix, height, width } = model.inspection.tokens!;
  const count = height * width;
  const row = new Float32Array(prefix + count + suffix).fill(1 / count, prefix, prefix + count);
  return expandLike(constant(like, row, { keys: row.length }), like);
}

/**
 * Attention flow: blocks as layers of a network of pipes, attention with its residual as capacities. The map is how
 * much can flow from the class token on top to each patch at the bottom, each target by itself. It is divided by the
 * sum over all targets. Exact. Not class-specific.
 *
 * Abnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020.
 */
export const attentionFlow = defineMethod({
  name: 'attention-flow',
  options: withPresets(
    {
      /** How heads become one map: mean, max, min, or one head's number. */
      headFusion: FIELDS.headFusion,
      ...BLOCKS,
      /** The weight w of the identity in (1 - w) A + w I; in [0, 1). */
      residualWeight: FIELDS.residualWeight,
      /** Where the flow starts: the token that is classified (or the mean of the patches), or another one. */
      row: FIELDS.row,
    },
    { headFusion: 'mean', startBlock: 0, endBlock: -1, residualWeight: 0.5, row: 'classifier' },
  ),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: hasGlobalAttention,
  map: ({ model, options }) => {
    const token = tokenOf(model, options.row);
    const layers = blocksBetween(model, options).map((block) =>
      withResidual(fuseHeads(model, block, model.output.attention(block), options.headFusion), {
        residualWeight: options.residualWeight,
        rowNormalization: true,
      }),
    );
    const flow =
      token === null ? maximumFlow([...layers, poolingLayer(model, layers[0]!)], 0) : maximumFlow(layers, token);
    return model.patches(normalizedRows(flow), 'keys');
  },
});
