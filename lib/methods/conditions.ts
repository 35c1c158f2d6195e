import type { Inspection } from '../engine/inspection.js';
import type { Rule } from '../symbolic/index.js';

type Condition = (inspection: Inspection) => string | null;

/** All conditions, the first that is not met speaking. */
export const all =
  (...conditions: Condition[]): Condition =>
  (inspection) => {
    for (const condition of conditions) {
      const reason = condition(inspection);
      if (reason !== null) return reason;
    }
    return null;
  };

export const hasGradients: Condition = ({ isQuantized }) =>
  isQuantized ? 'its weights are quantized, and quantized operators have no gradients' : null;

/** Whether the scores' gradient comes back to the image: an operator such as `detach` lets none through. */
export const gradientReachesImage: Condition = ({ gradientObstacle }) => gradientObstacle || null;

/** Whether it comes back to the target layer. */
export const gradientReachesLayer: Condition = ({ targetLayer, nodes }) =>
  nodes.find(({ name }) => name === targetLayer)?.gradientObstacle || null;

/** Whether it comes back to all attention probabilities. */
export const gradientReachesAttention: Condition = ({ attention }) =>
  attention.find(({ gradientObstacle }) => gradientObstacle !== '')?.gradientObstacle ?? null;

/** Whether the backward pass can follow a rule, which was tried on the graph. */
export const followsRule =
  (rule: Rule): Condition =>
  ({ ruleReasons }) =>
    ruleReasons[rule]?.replace(/^The /, 'the ').replace(/\.$/, '') ?? null;

export const hasClassScores: Condition = ({ classes }) =>
  classes > 0 ? null : 'it explains the logits of classes, and the model scores none';

export const hasPooledHead: Condition = ({ head, nodes }) => {
  if (head === null) return 'no linear layer on a spatially averaged feature was found at its end';
  if (head.layout === 'tokens' && nodes.find(({ name }) => name === head.feature)?.grid === null) {
    return 'its averaged tokens do not lie in a grid of patches';
  }
  return null;
};

export const hasTargetLayer: Condition = ({ targetLayer, placesLostAt, nodes }) => {
  if (targetLayer === '' && placesLostAt !== null) {
    return `the places of the image are lost at "${placesLostAt.node}" (${placesLostAt.operator}); name a layer with \`layer\``;
  }
  if (targetLayer === '') return 'no layer with spatial axes was found; name one with `layer`';
  const node = nodes.find(({ name }) => name === targetLayer);
  return node?.layout === 'tokens' && node.grid === null
    ? `the tokens of "${targetLayer}" do not lie in a grid of patches`
    : null;
};

/** Whether each attention's output projection and what it is added to are known. */
export const isInStream: Condition = ({ attention }) => {
  const site = attention.find((each) => !each.isInStream);
  return site === undefined ? null : `its graph does not tell what the attention of "${site.name}" adds, and to what`;
};

export const hasGlobalAttention: Condition = ({ attention, tokens, unknownAttention, hasParallelAttention }) => {
  if (attention.length === 0) {
    return unknownAttention === 0 ? 'it has no attention' : 'its attention is of no known form';
  }
  if (unknownAttention > 0) return `${unknownAttention} of its attention operators are of no known form`;
  if (attention.some((site) => site.tokens !== site.keys)) {
    return 'it has attention between different sets of tokens, which no product of square matrices follows';
  }
  if (attention.some(({ windows }) => windows > 1)) {
    return 'its attention is windowed, so no token sees the whole image';
  }
  const unsupported = attention.find((site) => site.unsupported !== '');
  if (unsupported) return unsupported.unsupported;
  const altered = attention.find((site) => site.altered !== '');
  if (altered) return altered.altered;
  if (hasParallelAttention) return 'its attentions stand side by side, so their matrices do not follow one another';
  if (tokens === null) return 'its tokens do not lie in a known grid of patches';
  return tokens.isReadKnown ? null : 'which of its tokens its scores are made of is not known';
};
