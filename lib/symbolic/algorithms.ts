import { SightlineError } from '../support/errors.js';
import type { Value } from './value.js';

/** Algorithms that are no tensor arithmetic, a step each. */

/**
 * The projection of each place on the first principal component of the channels: [batch, channels, height, width] to
 * [batch, height, width]. Channels are centered over space. Its sign is such that the largest magnitude is positive.
 */
export function principalComponent(value: Value): Value {
  return value.block.plan.current.step('principal_component', [value], ['batch', 'height', 'width']);
}

/** The same in the space of a sigmoid kernel tanh(x y / channels + 1). */
export function kernelComponent(value: Value): Value {
  return value.block.plan.current.step('kernel_component', [value], ['batch', 'height', 'width']);
}

/**
 * The largest flow from token `source` above the last matrix to each token below the first, capacities being the
 * entries: [batch, keys].
 *
 * @param matrices [batch, queries, keys] each, first block first
 */
export function attentionFlow(matrices: readonly Value[], source: number): Value {
  const first = matrices[0];
  if (first === undefined) throw new SightlineError('INVALID_OPTION', 'attentionFlow takes at least one matrix.');
  return first.block.plan.current.step('attention_flow', matrices, ['batch', 'keys'], { source });
}

/**
 * Masks [batch, n, height, width] merged while their cosine distance stays below `threshold` (complete linkage): the
 * sums of each cluster, zeros after the last, and how many there are.
 */
export function clusterMasks(masks: Value, threshold: number): { masks: Value; count: Value } {
  const [sums, count] = masks.block.plan.current.steps('cluster_masks', [masks], [masks.axes, ['batch']], {
    threshold,
  });
  return { masks: sums!, count: count! };
}

/**
 * The images with some pixels filled in smoothly from the others. `removed` [batch, height, width] is 1 at those
 * pixels, else 0; each becomes the weighted mean of its eight neighbors, filled in or not. At least one pixel of each
 * image stays. No gradient flows through it.
 */
export function impute(images: Value, removed: Value): Value {
  return images.block.plan.current.step('impute', [images, removed], images.axes);
}

/** Non-negative factors of a feature's channels x places: concept maps, and each concept's channels. */
export function nonNegativeFactors(value: Value, components: number): { maps: Value; vectors: Value } {
  const [vectors, maps] = value.block.plan.current.steps(
    'non_negative_factors',
    [value],
    [
      ['batch', 'concepts', 'channels'],
      ['batch', 'concepts', 'height', 'width'],
    ],
    { components },
  );
  return { maps: maps!, vectors: vectors! };
}

/** How an image is cut into segments. */
export interface Segmentation {
  /** The larger, the larger the segments: one segmentation for each. Images have values of about 0 to 1, or -1 to 1. */
  readonly scales: readonly number[];
  /** Standard deviation of the Gaussian that the image is smoothed by, in pixels. */
  readonly sigma: number;
  /** Segments of fewer pixels are joined to a neighbor. */
  readonly smallest: number;
}

/**
 * Segments of one color, by Felzenszwalb and Huttenlocher (2004): `labels` [batch, scales, height, width] number them
 * from 0 on, through all scales; `count` [batch] is how many there are. No gradient flows through it.
 */
export function felzenszwalb(images: Value, segmentation: Segmentation): { labels: Value; count: Value } {
  const [labels, count] = images.block.plan.current.steps(
    'felzenszwalb',
    [images],
    [['batch', 'scales', 'height', 'width'], ['batch']],
    { scales: [...segmentation.scales], sigma: segmentation.sigma, smallest: segmentation.smallest },
  );
  return { labels: labels!, count: count! };
}

/** How regions are ranked. */
export interface RegionRanking {
  /** By how many pixels each segment is widened, in a disk. */
  readonly dilation: number;
  /** A region that adds fewer pixels is left out. */
  readonly leastAdded: number;
  /** The share of the image after which no further region is taken. */
  readonly area: number;
  /** Regions in the order of their own means, whatever was taken before. */
  readonly isFast: boolean;
}

/**
 * XRAI's map. Region after region is taken, always the one whose pixels that are not taken yet have the largest mean.
 * They get that mean of `attributions` [batch, height, width]. `labels` [batch, scales, height, width] are as
 * `felzenszwalb` gives them.
 */
export function rankRegions(attributions: Value, labels: Value, ranking: RegionRanking): Value {
  const { dilation, leastAdded, area, isFast } = ranking;
  return attributions.block.plan.current.step('rank_regions', [attributions, labels], attributions.axes, {
    dilation,
    least_added: leastAdded,
    area,
    is_fast: isFast,
  });
}
