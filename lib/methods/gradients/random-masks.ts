import {
  crop,
  floor,
  less,
  narrow,
  noise,
  select,
  split,
  upsample,
  type Sample,
  type Value,
} from '../../symbolic/index.js';

/** Cells of a coarse grid. */
export interface Cells {
  readonly down: number;
  readonly across: number;
}

export interface MaskSettings {
  /** [height, width] of the image. */
  readonly image: readonly [number, number];
  /** Cells: [down, across]. */
  readonly grid: readonly [number, number];
  /** How likely each cell shows the image. */
  readonly probability: number;
  readonly seed: number;
}

/** Gives the mask of a sample: [batch, height, width], 1 where it shows the image. */
export type MakeMasks = (settings: MaskSettings) => (sample: Sample) => Value;

/** What one mask is made of, uniform on [0, 1): a number for each cell, and two for the offset. [batch, draws]. */
export function drawsOfMask(sample: Sample, { down, across }: Cells, seed: number): Value {
  return noise({ draws: down * across + 2 }, sample, seed, 'uniform');
}

/**
 * How far a grid is enlarged, and how many offsets there are at which the image is cut out of it: both [vertically,
 * horizontally].
 */
export interface Enlarged {
  readonly size: readonly [number, number];
  readonly offsets: readonly [number, number];
}

/** A random grid, smoothly enlarged and cut at a random offset. */
export function maskOfDraws(
  ofCells: Value,
  ofOffset: Value,
  {
    cells,
    enlarged,
    image,
    probability,
  }: {
    readonly cells: Cells;
    readonly enlarged: Enlarged;
    readonly image: readonly [number, number];
    readonly probability: number;
  },
): Value {
  const count = cells.down * cells.across;
  const grid = split(narrow(ofCells, 'draws', 0, count), 'draws', { height: cells.down, width: cells.across });
  const offset = (axis: 0 | 1): Value => floor(select(ofOffset, 'draws', count + axis).mul(enlarged.offsets[axis]));
  return crop(upsample(less(grid, probability), ...enlarged.size), offset(0), offset(1), ...image);
}

/** RISE's masks: the grid is one cell larger than the image, so that it can be cut at any offset up to a cell. */
export const randomMasks: MakeMasks = ({ image, grid: [down, across], probability, seed }) => {
  const cell = [Math.ceil(image[0] / down), Math.ceil(image[1] / across)] as const;
  const enlarged = { size: [(down + 1) * cell[0], (across + 1) * cell[1]], offsets: cell } as const;
  const cells = { down, across };
  return (sample) => {
    const draws = drawsOfMask(sample, cells, seed);
    return maskOfDraws(draws, draws, { cells, enlarged, image, probability });
  };
};
