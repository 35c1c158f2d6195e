import { SPACE } from '../methods/axes.js';
import { count } from '../methods/fields.js';
import { withPresets } from '../methods/presets.js';
import {
  equal,
  fullLike,
  greater,
  greaterEqual,
  max,
  maximum,
  min,
  minimum,
  ranks,
  relu,
  scaleToUnit,
  select,
  sub,
  sum,
  where,
} from '../symbolic/index.js';
import { pixelsOf } from './curve.js';
import { share } from './fields.js';
import { divideOrNaN } from './division.js';
import { defineMetric } from './metric.js';

const noOptions = withPresets({}, {});

const known = { family: 'localization', better: 'higher', needsMask: true, readsScore: false } as const;

/**
 * Pointing game: 1 where the map's highest pixel lies on the object, else 0; its mean over images is the accuracy. Of
 * equal pixels the first, row by row, counts.
 *
 * Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, without their tolerance of 15 pixels.
 */
export const pointingGame = defineMetric({
  ...known,
  name: 'pointing-game',
  options: noOptions,
  measure: ({ model, map, mask }) => {
    // Of equal numbers the first has the first rank: places in the order of rows, and no sorting of every map.
    const places = ranks(select(fullLike(model.image, 0), 'channels', 0));
    const first = min(where(equal(map, max(map, SPACE)), places, Infinity), SPACE);
    return sum(equal(places, first).mul(mask()), SPACE);
  },
});

/**
 * Mass accuracy: the share of the map's positive values that lies on the object. In [0, 1], higher is better; NaN where
 * nothing is positive. Also called energy-based pointing game.
 *
 * Arras, Osman & Samek, CLEVR-XAI, Information Fusion 2022.
 */
export const massAccuracy = defineMetric({
  ...known,
  name: 'mass-accuracy',
  options: noOptions,
  measure: ({ map, mask }) => {
    const positive = relu(map);
    return divideOrNaN(sum(positive.mul(mask()), SPACE), sum(positive, SPACE));
  },
});

/**
 * Rank accuracy: of as many of the map's highest pixels as the object has, the share that lies on it. In [0, 1], higher
 * is better.
 *
 * Arras, Osman & Samek, CLEVR-XAI, Information Fusion 2022.
 */
export const rankAccuracy = defineMetric({
  ...known,
  name: 'rank-accuracy',
  options: noOptions,
  measure: ({ map, mask }) => {
    const object = mask();
    const size = sum(object, SPACE);
    return divideOrNaN(sum(greater(size, ranks(map)).mul(object), SPACE), size);
  },
});

/**
 * Top-k intersection: the share of the map's `pixels` highest pixels that lies on the object. In [0, 1], higher is
 * better.
 *
 * Theiner, Mueller-Budack & Ewerth, Interpretable Semantic Photo Geolocation, WACV 2022.
 */
export const topKIntersection = defineMetric({
  ...known,
  name: 'top-k-intersection',
  options: withPresets(
    {
      /** How many of the highest pixels; all, where the image has fewer. */
      pixels: count(1),
    },
    { pixels: 1000 },
  ),
  measure: ({ model, map, mask, options }) => {
    const chosen = Math.min(options.pixels, pixelsOf(model));
    return sum(greater(chosen, ranks(map)).mul(mask()), SPACE).div(chosen);
  },
});

/**
 * Localization AUC: how likely a pixel of the object has a higher value than one beside it, equal ones counting half:
 * the area under the ROC curve. In [0, 1], 0.5 by chance, higher is better; NaN where the object is nothing or all.
 *
 * Fawcett, An Introduction to ROC Analysis, 2006.
 */
export const localizationAuc = defineMetric({
  ...known,
  name: 'localization-auc',
  options: noOptions,
  measure: ({ model, map, mask }) => {
    const object = mask();
    const pixels = pixelsOf(model);
    const size = sum(object, SPACE);
    const others = sub(pixels, size);
    // Shares keep the sums near 1, where float32 is exact enough: pixels squared would not be.
    const places = sub(pixels - 0.5, ranks(map, { ties: 'mean' })).div(pixels);
    const meanPlace = divideOrNaN(sum(places.mul(object), SPACE), size);
    return divideOrNaN(meanPlace.mul(pixels).sub(size.mul(0.5)), others);
  },
});

/**
 * Average precision of the pixels ranked by the map, those of the object being the right ones: the mean over the
 * object's pixels of the object's share of all pixels that are at least as high. Its mean over images is mAP. In
 * [0, 1], by chance the object's share of the image, higher is better; NaN where there is no object.
 *
 * Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, without its interpolation.
 */
export const averagePrecision = defineMetric({
  ...known,
  name: 'average-precision',
  options: noOptions,
  measure: ({ map, mask }) => {
    const object = mask();
    const size = sum(object, SPACE);
    // Equal pixels are found together, so each has the last of their places.
    const among = ranks(where(equal(object, 0), -Infinity, map), { ties: 'last' }).add(1);
    const overall = ranks(map, { ties: 'last' }).add(1);
    return divideOrNaN(sum(among.div(overall).mul(object), SPACE), size);
  },
});

const atThreshold = withPresets(
  {
    /** The least value of a pixel that counts as marked, of the map in [0, 1]. */
    threshold: share,
  },
  { threshold: 0.5 },
);

/**
 * Intersection over union of the object and the pixels whose value, with the map brought to [0, 1], is at least
 * `threshold`; its mean over images is mIoU. In [0, 1], higher is better.
 */
export const intersectionOverUnion = defineMetric({
  ...known,
  name: 'iou',
  options: atThreshold,
  measure: ({ map, mask, options }) => {
    const object = mask();
    const marked = greaterEqual(scaleToUnit(map), options.threshold);
    return sum(minimum(marked, object), SPACE).div(sum(maximum(marked, object), SPACE));
  },
});

/**
 * Pixel accuracy: the share of the image's pixels that are marked on the object, or not marked beside it. The map is
 * brought to [0, 1], and marked from `threshold` on. In [0, 1], higher is better.
 */
export const pixelAccuracy = defineMetric({
  ...known,
  name: 'pixel-accuracy',
  options: atThreshold,
  measure: ({ model, map, mask, options }) => {
    const marked = greaterEqual(scaleToUnit(map), options.threshold);
    return sum(equal(marked, mask()), SPACE).div(pixelsOf(model));
  },
});
