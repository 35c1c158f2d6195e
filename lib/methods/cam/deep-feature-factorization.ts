import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import {
  concatenate,
  expandLike,
  max,
  min,
  nonNegativeFactors,
  pick,
  rename,
  type Value,
} from '../../symbolic/index.js';
import { SPACE } from '../axes.js';
import { compatWith } from '../compat/peers.js';
import { hasReadableLayer } from './conditions.js';
import { count } from '../fields.js';
import { defineMethod, type MapOf } from '../method.js';
import { placesOf } from './channel-masks.js';

const COMPONENTS = 5;

/** A concept's channels at the scale at which the model is asked for its class. */
type Scale = (vectors: Value, maps: Value) => Value;

const mapBy =
  (scaled: Scale): MapOf<{ readonly components?: number | undefined }> =>
  ({ model, layer, options: { components: asked } }) => {
    const feature = model.output.feature(layer);
    const features = model.spatial(feature, layer);
    const [height, width] = placesOf(model.node(layer));
    const components = asked ?? Math.min(COMPONENTS, height * width);
    if (components > height * width) {
      throw new SightlineError(
        'INVALID_OPTION',
        `deep-feature-factorization finds at most as many concepts as "${layer}" has places, ${height * width}, not ${components}; ask for fewer components.`,
      );
    }
    const lowest = min(features, SPACE);
    const { maps, vectors } = nonNegativeFactors(features.sub(lowest), components);
    const concepts = scaled(vectors, maps).add(lowest);
    // The classes that the model gives to an image of nothing but the concept.
    const logits = concatenate(
      feature,
      components,
      (concept) => model.resume([{ of: feature, to: expandLike(pick(concepts, concept, 'concepts'), feature) }]).logits,
    );
    return { map: maps, concepts: rename(logits, 'sample', 'concepts') };
  };

/**
 * Deep feature factorization: a layer's activations as a sum of few non-negative concepts. Each has a map of where it
 * is, and the class that the model gives to an image of nothing else. One map per concept, in place of one per target.
 *
 * Collins, Achanta and Süsstrunk, Deep Feature Factorization for Concept Discovery, ECCV 2018; the classes of concepts
 * are pytorch-grad-cam's.
 */
export const deepFeatureFactorization = defineMethod({
  name: 'deep-feature-factorization',
  options: z.strictObject({
    /** How many concepts. Default 5, or as many as the layer has places where those are fewer. */
    components: count(1, 1000).optional(),
    /** Classes of concepts at the scale that the factorization happens to give, in place of each concept's peak. */
    compat: compatWith('pytorch-grad-cam'),
  }),
  usesLayer: true,
  isClassSpecific: false,
  reasonAgainst: (inspection) =>
    inspection.classes === 0
      ? 'it gives no class scores that a concept could be named by'
      : hasReadableLayer(inspection),
  // Only the product of a concept's map and vector is defined. At the peak of its map it is what the layer holds there.
  map: mapBy((vectors, maps) => vectors.mul(max(maps, SPACE))),
  compat: { 'pytorch-grad-cam': mapBy((vectors) => vectors) },
});
