import { z } from 'zod';

import { flag } from '../fields.js';

/**
 * The settings that the family shares. A published variant is a choice of these, so that presets are rows of one table
 * (docs/methods/attention-rollout.md). Each method takes the fields that mean something to it.
 */

/** How heads become one matrix, without gradients. A number takes that head alone, counted from 0. */
export const HEAD_FUSIONS = ['mean', 'max', 'min'] as const;
export type HeadFusion = (typeof HEAD_FUSIONS)[number] | number;

/**
 * How heads become one matrix where attention A is weighted by the gradient g of the score with respect to it:
 * `positive-part` mean of relu(A g); `gradient-weighted` relu of the mean of A g; `grad-cam` relu of the mean of A
 * times the mean of g over the patches; `max` and `min` of relu(A g); `gradient-l1` and `gradient-l2` the mean of A
 * weighted by the norm that g has in each head. A number takes relu(A g) of that head alone.
 */
export const GRADIENT_FUSIONS = [
  'positive-part',
  'gradient-weighted',
  'grad-cam',
  'max',
  'min',
  'gradient-l1',
  'gradient-l2',
] as const;
export type GradientFusion = (typeof GRADIENT_FUSIONS)[number] | number;

/** Whose row of the result is the map. A number is that token's place in the sequence, prefix tokens first. */
export const ROWS = ['classifier', 'class-token', 'distillation-token', 'patches'] as const;
export type RowChoice = (typeof ROWS)[number] | number;

/** The mean of all tokens' rows, prefix tokens included, is one of them too. */
const ROWS_AND_MEAN = [...ROWS, 'tokens'] as const;
export type RowsChoice = (typeof ROWS_AND_MEAN)[number] | number;

const nameOrNumber = <const Names extends readonly string[]>(
  names: Names,
  what: string,
): z.ZodType<Names[number] | number, Names[number] | number> =>
  z.union([z.enum(names), z.int().min(0)], { error: `give ${names.join(', ')} or the number of ${what}, from 0` });

const BLOCK = 'give the number of a block, from 0, or from -1 for the last one backwards';

/** Each field by itself, without a default: `withPresets` fills in the method's. */
export const FIELDS = {
  headFusion: nameOrNumber(HEAD_FUSIONS, 'one head'),
  gradientFusion: nameOrNumber(GRADIENT_FUSIONS, 'one head'),
  row: nameOrNumber(ROWS, 'one token'),
  rows: nameOrNumber(ROWS_AND_MEAN, 'one token'),
  block: z.int({ error: BLOCK }),
  residualWeight: z
    .number({ error: 'give a number of at least 0 and below 1' })
    .min(0, { error: 'it must be at least 0' })
    .lt(1, { error: 'it must be below 1, or no attention would be left' }),
  rowNormalization: flag,
  discardRatio: z
    .number({ error: 'give a number of at least 0 and below 1' })
    .min(0, { error: 'it must be at least 0' })
    .lt(1, { error: 'it must be below 1, or no attention would be left' }),
  combine: z.enum(['product', 'sum'], { error: "give 'product' or 'sum'" }),
} as const;

/** The blocks that a method goes through, and whose row of the result is its map. */
export const BLOCKS = {
  /** The first block, from 0; negative numbers count from the end. */
  startBlock: FIELDS.block,
  /** The last block, included; default -1, the model's last. */
  endBlock: FIELDS.block,
};
export const ROW = {
  /** Whose row is the map: the token that is classified (or the mean of the patches), or another one. */
  row: FIELDS.row,
};

/** What the two rollouts have in common: how blocks' matrices become one map. */
export const AGGREGATION = {
  /** Share of each block's entries, the smallest, that is set to 0; in [0, 1). */
  discardRatio: FIELDS.discardRatio,
  ...BLOCKS,
  /** The weight w of the identity in (1 - w) A + w I; in [0, 1). */
  residualWeight: FIELDS.residualWeight,
  /** Whether rows are divided by their sums. */
  rowNormalization: FIELDS.rowNormalization,
  /** Product of the blocks' matrices (rollout), or their sum. */
  combine: FIELDS.combine,
  ...ROW,
};

/** The settings of Abnar and Zuidema's rollout. */
export const ABNAR = {
  discardRatio: 0,
  startBlock: 0,
  endBlock: -1,
  residualWeight: 0.5,
  rowNormalization: true,
  combine: 'product',
  row: 'classifier',
} as const;
