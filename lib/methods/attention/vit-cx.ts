import { z } from 'zod';

import type { Inspection } from '../../engine/inspection.js';
import {
  accumulate,
  clusterMasks,
  concatenate,
  constant,
  contract,
  highest,
  lowest,
  mul,
  noise,
  pick,
  rename,
  select,
  softmax,
  stack,
  transpose,
  upsample,
  type Run,
  type Value,
} from '../../symbolic/index.js';
import { channelsOf, placesOf, unitMask } from '../cam/channel-masks.js';
import { hasTargetLayer } from '../conditions.js';
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
    distanceThreshold: z.number({ error: 'a number in (0, 1] is expected' }).gt(0, { error: 'a distance above 0 is expected' }).max(1, { error: 'masks lie at most 1 apart' }).default(0.1),
    /** Standard deviation of the noise where the mask is 0, of pixels as the model gets them. */
    noiseLevel: z.number({ error: 'a number of at least 0 is expected' }).min(0, { error: 'a standard deviation is at least 0' }).default(0.1),
    /** Of the noise: the same seed gives the same map. */
    seed: z.int({ error: 'a whole number of at least 0 is expected' }).min(0, { error: 'a seed is at least 0' }).max(2 ** 31 - 1, { error: 'a seed is at most 2147483647' }).default(0),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: (inspection) => (hasAttention(inspection) ? hasTargetLayer(inspection) : 'it has no attention'),
  map: ({ model, layer, options }) => {
    const { height, width } = model.inspection;
    const features = model.spatial(model.output.feature(layer), layer);
    const channels = channelsOf(model.node(layer));
    const [rows, columns] = placesOf(model.node(layer));

    // Grids that, upsampled, reach from 0 to 1; what the upsampled masks would take is never made.
    const ranges = concatenate(features, channels, (sample) => {
      const mask = upsample(pick(features, sample), height, width);
      return stack([lowest(mask), highest(mask)], 'ends');
    });
    const [low, high] = [0, 1].map((end) => rename(select(ranges, 'ends', end), 'sample', 'channels')) as [Value, Value];
    const masks = features.sub(low).div(high.sub(low).add(1e-8));

    const [ofRows, ofColumns] = [productBasis(rows, height), productBasis(columns, width)];
    const clusters = clusterMasks(changeBasis(masks, ofRows.into, ofColumns.into), options.distanceThreshold);

    // The definition is of probabilities; a score of the user's own is taken as it is.
    const probability = (run: Run): Value => (model.explained.isLogit ? model.scoreIn(softmax(run.logits, 'classes')) : run.score);
    const whole = probability(model.output);
    const sums = accumulate(
      clusters.masks,
      channels,
      (sample) => {
        const mask = unitMask(upsample(changeBasis(pick(clusters.masks, sample), ofRows.outOf, ofColumns.outOf), height, width));
        const disturbance = mul(noise(model.image, sample, options.seed, 'normal'), mask.mul(-options.noiseLevel).add(options.noiseLevel));
        const kept = probability(model.run(mul(model.image, mask).add(disturbance)));
        const disturbed = probability(model.run(model.image.add(disturbance)));
        return stack([mask.mul(kept.sub(disturbed).add(whole)), mask], 'sums');
      },
      { limit: clusters.count },
    );
    // Places that many masks cover would count more for that alone.
    return select(sums, 'sums', 0).div(select(sums, 'sums', 1).add(1e-8)).div(clusters.count);
  },
});

const hasAttention = ({ attention, unknownAttention }: Inspection): boolean => attention.length + unknownAttention > 0;

/** Rows and columns of [..., height, width] multiplied each by its matrix from the right. */
function changeBasis(grids: Value, rows: Float32Array, columns: Float32Array): Value {
  const turned = [...grids.axes.slice(0, -2), 'width', 'height'];
  const alongRows = lastAxisTimes(grids, columns, 'width');
  const alongColumns = lastAxisTimes(transpose(alongRows, turned), rows, 'height');
  return transpose(alongColumns, grids.axes);
}

function lastAxisTimes(value: Value, matrix: Float32Array, axis: string): Value {
  const size = Math.sqrt(matrix.length);
  return rename(contract(value, constant(value, matrix, { one: 1, [axis]: size, into: size }), axis), 'into', axis);
}
