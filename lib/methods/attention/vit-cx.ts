import { z } from 'zod';

import type { Inspection } from '../../engine/inspection.js';
import {
  accumulate,
  clusterMasks,
  concatenate,
  highest,
  lowest,
  noise,
  pick,
  rename,
  softmax,
  sub,
  upsample,
  type Run,
  type Value,
} from '../../symbolic/index.js';
import { channelsOf, placesOf, unitMask } from '../cam/channel-masks.js';
import { activationsOf } from '../cam/target-layer.js';
import { hasTargetLayer } from '../conditions.js';
import { noise as deviation, seed } from '../fields.js';
import { defineMethod } from '../method.js';
import { productBasis } from './upsampled-products.js';

/**
 * ViT-CX: which parts of the image cause the prediction. The channels of an attention block's input, seen as masks, are
 * merged where they look alike; each mask counts by what is left of the class's probability when only the masked part
 * stays, with noise in the place of the rest.
 *
 * Xie, Li, Cao and Zhang, ViT-CX: Causal Explanation of Vision Transformers, IJCAI 2023.
 */
export const vitCx = defineMethod({
  name: 'vit-cx',
  options: z.strictObject({
    /** Masks are merged while their cosine distance stays below it; in (0, 1]. */
    distanceThreshold: z
      .number({ error: 'a number in (0, 1] is expected' })
      .gt(0, { error: 'a distance above 0 is expected' })
      .max(1, { error: 'masks lie at most 1 apart' })
      .default(0.1),
    /** Standard deviation of the noise where the mask is 0, of pixels as the model gets them. */
    noise: deviation.default(0.1),
    /** Of the noise: the same seed gives the same map. */
    seed: seed.default(0),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: (inspection) => (hasAttention(inspection) ? hasTargetLayer(inspection) : 'it has no attention'),
  map: ({ model, layer, options }) => {
    const { image } = model;
    const { height, width } = model.inspection;
    const activations = activationsOf(model, layer);
    const channels = channelsOf(model.node(layer));

    // Grids that, upsampled, reach from 0 to 1; what the upsampled masks would take is never made.
    const ends = concatenate(activations, channels, (channel) => {
      const mask = upsample(pick(activations, channel, 'channels'), height, width);
      return { low: lowest(mask), high: highest(mask) };
    });
    const [low, high] = [rename(ends.low, 'sample', 'channels'), rename(ends.high, 'sample', 'channels')];
    const masks = activations.sub(low).div(high.sub(low).add(1e-8));
    const basis = productBasis(placesOf(model.node(layer)), [height, width]);
    const clusters = clusterMasks(basis.into(masks), options.distanceThreshold);

    // The definition is of probabilities; a score of the user's own is taken as it is.
    const probability = (run: Run): Value =>
      model.explained.isLogit ? model.scoreIn(softmax(run.logits, 'classes')) : run.score;
    const whole = probability(model.output);
    const { effects, coverage } = accumulate(
      clusters.masks,
      channels,
      (sample) => {
        const mask = unitMask(upsample(basis.outOf(pick(clusters.masks, sample, 'channels')), height, width));
        const disturbance = noise(image, sample, options.seed, 'normal').mul(sub(1, mask).mul(options.noise));
        const kept = probability(model.run(image.mul(mask).add(disturbance)));
        const disturbed = probability(model.run(image.add(disturbance)));
        return { effects: mask.mul(kept.sub(disturbed).add(whole)), coverage: mask };
      },
      { limit: clusters.count },
    );
    // Places that many masks cover would count more for that alone.
    return effects.div(coverage.add(1e-8)).div(clusters.count);
  },
});

const hasAttention = ({ attention, unknownAttention }: Inspection): boolean => attention.length + unknownAttention > 0;
