import { z } from 'zod';

import type { Inspection, NodeInfo } from '../../engine/inspection.js';
import { concatenate, constant, split, take, unravel, type SymbolicModel, type Value } from '../../symbolic/index.js';
import { all } from '../conditions.js';
import { flag, oneOf } from '../fields.js';
import { defineMethod } from '../method.js';
import { placesOf } from './channel-masks.js';
import { hasReadableLayer } from './conditions.js';

/**
 * What is left of a layer around the place that is kept, one way: the place alone, or the binomial weights of three
 * places, whose product both ways is the papers' 3 x 3 kernel.
 */
const KERNELS = { single: [0, 1, 0], gaussian: [1 / 4, 1 / 2, 1 / 4] } as const;
type Kernel = keyof typeof KERNELS;
const kernelSchema = oneOf('single', 'gaussian');

/** How much of each place along an axis is left where one of them is kept: [length, length]. */
function keptAlong(length: number, kernel: Kernel): Float32Array {
  const kept = new Float32Array(length * length);
  for (let place = 0; place < length; place++) {
    for (const [offset, weight] of KERNELS[kernel].entries()) {
      const at = place + offset - 1;
      if (at >= 0 && at < length) kept[place * length + at] = weight;
    }
  }
  return kept;
}

/** The score with only what `keep` leaves of the layer, for each of its places: [batch, height, width]. */
function scoresOfPlaces(model: SymbolicModel, layer: string, keep: (feature: Value, place: Value) => Value): Value {
  const feature = model.output.feature(layer);
  const [height, width] = placesOf(model.node(layer));
  const scores = concatenate(
    feature,
    height * width,
    (place) => model.resume([{ of: feature, to: keep(feature, place) }]).score,
  );
  return split(scores, 'sample', { height, width });
}

const layerOf = ({ nodes, targetLayer }: Inspection): NodeInfo | undefined =>
  nodes.find(({ name }) => name === targetLayer);

const isNoTokens = (inspection: Inspection): string | null => {
  const layer = layerOf(inspection);
  return layer?.layout === 'tokens' ? `"${layer.name}" has tokens, which vit-recipro-cam explains` : null;
};

const isTokens = (inspection: Inspection): string | null => {
  const layer = layerOf(inspection);
  if (layer === undefined || layer.layout === 'tokens') return null;
  return `"${layer.name}" has no tokens${layer.layout.startsWith('channels') ? '; recipro-cam explains it' : ''}`;
};

/**
 * Recipro-CAM: the class's score where only one place of a layer's feature is kept and the others are zero, for each
 * place. Takes no gradients; for each place, one run of the operators after the layer, which all classes share.
 *
 * Byun & Lee, Recipro-CAM: Fast gradient-free visual explanations for convolutional neural networks, 2022.
 */
export const reciproCam = defineMethod({
  name: 'recipro-cam',
  options: z.strictObject({
    /** The places that are kept: a `single` one, or the 3 x 3 places around it by `gaussian` weights that sum to 1. */
    kernel: kernelSchema.default('single'),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasReadableLayer, isNoTokens),
  map: ({ model, layer, options }) => {
    // Refuses a layer without rows and columns.
    model.spatial(model.output.feature(layer), layer);
    const [height, width] = placesOf(model.node(layer));
    const rows = constant(model.image, keptAlong(height, options.kernel), { row: height, height });
    const columns = constant(model.image, keptAlong(width, options.kernel), { column: width, width });
    return scoresOfPlaces(model, layer, (feature, place) => {
      const { row, column } = unravel(place, { row: height, column: width });
      return feature.mul(take(rows, row)).mul(take(columns, column));
    });
  },
});

/**
 * ViT-Recipro-CAM: the class's score where only the patches around one place of a layer are kept, and the class token,
 * for each place. The other tokens are zero. Takes no gradients; for each place, one run of the operators after the
 * layer, which all classes share.
 *
 * Byun & Lee, ViT-ReciproCAM: Gradient and Attention-Free Visual Explanations for Vision Transformer, 2023.
 */
export const vitReciproCam = defineMethod({
  name: 'vit-recipro-cam',
  options: z.strictObject({
    /** The patches that are kept: a `single` one, or the 3 x 3 around it by `gaussian` weights that sum to 1. */
    kernel: kernelSchema.default('gaussian'),
    /** Whether the class token and other tokens that are no patches are kept. */
    classToken: flag.default(true),
  }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: all(hasReadableLayer, isTokens),
  map: ({ model, layer, options }) => {
    const { grid } = model.node(layer);
    const { height, width, prefix, suffix } = grid!;
    const [rows, columns] = [keptAlong(height, options.kernel), keptAlong(width, options.kernel)];
    const tokens = prefix + height * width + suffix;
    const kept = new Float32Array(height * width * tokens).fill(options.classToken ? 1 : 0);
    for (let place = 0; place < height * width; place++) {
      const [row, column] = [Math.floor(place / width), place % width];
      for (let patch = 0; patch < height * width; patch++) {
        const [down, across] = [Math.floor(patch / width), patch % width];
        kept[place * tokens + prefix + patch] = rows[row * height + down]! * columns[column * width + across]!;
      }
    }
    const table = constant(model.image, kept, { places: height * width, tokens });
    return scoresOfPlaces(model, layer, (feature, place) => feature.mul(take(table, place)));
  },
});
