import { z } from 'zod';

import type { Inspection } from '../../engine/inspection.js';
import {
  concatenate,
  pick,
  relu,
  rename,
  sub,
  sum,
  upsample,
  type Run,
  type SymbolicModel,
  type Value,
} from '../../symbolic/index.js';
import { all } from '../conditions.js';
import { count, oneOf } from '../fields.js';
import { defineMethod } from '../method.js';
import { divideOrZero } from '../safe-division.js';
import { channelsOf, placesOf, unitMask } from './channel-masks.js';
import { hasReadableLayer } from './conditions.js';
import { stagesBefore } from './stages.js';
import { activationsOf } from './target-layer.js';

/** More grids than any network goes through. */
const MOST_STAGES = 16;

const WEIGHTS = ['kept', 'removed', 'both'] as const;
type Weights = (typeof WEIGHTS)[number];

/**
 * The weights of a layer's channels, [batch, channels]: the probability of the class on the image seen through the
 * channel, `kept`; what is lost of it where the channel's places are `removed`; or the sum of the two.
 */
function weightsOf(model: SymbolicModel, layer: string, weights: Weights): Value {
  const { height, width } = model.inspection;
  const activations = activationsOf(model, layer);
  const { image } = model;
  // The definition is of probabilities; a score of the user's own is taken as it is.
  const scoreOf = (run: Run): Value => (model.explained.isLogit ? model.scoreIn(run.probabilities) : run.score);
  const whole = scoreOf(model.output);
  const change = concatenate(activations, channelsOf(model.node(layer)), (channel) => {
    const mask = upsample(unitMask(pick(activations, channel, 'channels')), height, width);
    const kept = (): Value => scoreOf(model.run(image.mul(mask)));
    const removed = (): Value => scoreOf(model.run(image.mul(sub(1, mask))));
    if (weights === 'both') return kept().sub(removed());
    return weights === 'kept' ? kept() : removed();
  });
  const perChannel = rename(change, 'sample', 'channels');
  if (weights === 'kept') return perChannel;
  return relu(weights === 'both' ? perChannel.add(whole) : whole.sub(perChannel));
}

const isNoTokens = ({ nodes, targetLayer }: Inspection): string | null =>
  nodes.find(({ name }) => name === targetLayer)?.layout === 'tokens'
    ? `"${targetLayer}" has tokens, whose grid is the same from the first layer to the last`
    : null;

/**
 * Poly-CAM: the map of a coarse layer, made finer by the maps of the layers before it, one for each grid that the
 * network goes through. Each finer map is divided by its own local mean, so that it adds detail and no weight, and
 * multiplied with the coarser one. Takes no gradients; a run of the model for each channel of each layer.
 *
 * Englebert, Cornu & De Vleeschouwer, Poly-CAM: High resolution class activation map for convolutional neural networks,
 * 2022.
 */
export const polyCam = defineMethod({
  name: 'poly-cam',
  options: z.strictObject({
    /**
     * The weight of a channel: the probability that its mask keeps (`kept`), that hiding its places loses (`removed`),
     * or their sum (`both`). PCAM+, PCAM- and PCAM± in the paper.
     */
    weights: oneOf(...WEIGHTS).default('both'),
    /** How many layers are joined, from the layer backwards, 1 to 16; default all grids that there are. */
    stages: count(1, MOST_STAGES).optional(),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasReadableLayer, isNoTokens),
  map: ({ model, layer, options }) => {
    // Refuses a layer without rows and columns.
    activationsOf(model, layer);
    const stages = stagesBefore(model.inspection, layer).slice(0, options.stages);
    const maps = stages.map((stage) =>
      relu(sum(activationsOf(model, stage).mul(weightsOf(model, stage, options.weights)), 'channels')),
    );
    return maps.reduce((coarse, fine, i) => {
      const [height, width] = placesOf(model.node(stages[i]!));
      const [rows, columns] = placesOf(model.node(stages[i - 1]!));
      const local = upsample(upsample(fine, rows, columns), height, width);
      return divideOrZero(fine, local).mul(upsample(coarse, height, width));
    });
  },
});
