import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { concatenate, max, min, nonNegativeFactors, pick, rename } from '../../symbolic/index.js';
import { hasTargetLayer } from '../conditions.js';
import { defineMethod } from '../method.js';
import { placesOf } from './channel-masks.js';

const SPACE = ['height', 'width'] as const;

/**
 * Deep feature factorization: a layer's activations as a sum of few non-negative concepts, each with a map of where it
 * is and a class that the model gives to an image of nothing else. One map per concept, in place of one per target.
 *
 * Collins, Achanta and Süsstrunk, Deep Feature Factorization for Concept Discovery, ECCV 2018; the classes of concepts
 * are pytorch-grad-cam's.
 */
export const deepFeatureFactorization = defineMethod({
  name: 'deep-feature-factorization',
  options: z.strictObject({
    /** How many concepts. */
    components: z.int({ error: 'a whole number of at least 1 is expected' }).min(1, { error: 'at least 1 component is needed' }).max(1000, { error: 'at most 1000 components are taken' }).default(5),
    /** Classes of concepts at the scale that the factorization happens to give, in place of each concept's peak. */
    compat: z.enum(['pytorch-grad-cam'], { error: "'pytorch-grad-cam' is expected" }).optional(),
  }),
  usesLayer: true,
  isClassSpecific: false,
  reasonAgainst: (inspection) => (inspection.classes === 0 ? 'it gives no class scores that a concept could be named by' : hasTargetLayer(inspection)),
  map: ({ model, layer, options: { components, compat } }) => {
    const feature = model.output.feature(layer);
    const features = model.spatial(feature, layer);
    const [height, width] = placesOf(model.node(layer));
    if (components > height * width) {
      throw new SightlineError('INVALID_OPTION', `deep-feature-factorization finds at most as many concepts as "${layer}" has places, ${height * width}, not ${components}; ask for fewer components.`);
    }
    const lowest = min(features, SPACE);
    const { maps, vectors } = nonNegativeFactors(features.sub(lowest), components);
    // Only the product of a concept's map and vector is defined. At the peak of its map it is what the layer holds there.
    const scaled = compat ? vectors : vectors.mul(max(maps, SPACE));
    const concepts = scaled.add(lowest);
    const logits = concatenate(feature, components, (sample) => {
      const everywhere = feature.mul(0).add(pick(concepts, sample));
      return model.resume([{ of: feature, to: everywhere }]).logits;
    });
    return { map: maps, concepts: rename(logits, 'sample', 'concepts') };
  },
});
