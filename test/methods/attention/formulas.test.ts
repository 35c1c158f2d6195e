import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { defineMethod, symbolic, type Model } from '../../../lib/index.js';
import { withResidual } from '../../../lib/methods/attention/aggregate.js';
import { fuseHeads } from '../../../lib/methods/attention/heads.js';
import { carryDown, rowOf } from '../../../lib/methods/attention/rows.js';
import { mixedByColumns } from '../../../lib/methods/compat/vit-explain.js';
import { loadSmall, randomTensor } from '../../support/models.js';
import { expectWithin, ROUNDOFF } from '../../support/rounding.js';

type Value = symbolic.Value;

const { constant, eyeLike, select, split, stack, sum } = symbolic;
const SIZE = [24, 40] as const;
const IMAGE = randomTensor(1, ...SIZE);

/** What a formula gives on three tokens, whose matrices [3, 3] stand in for a model's: row by row. */
describe('formulas on three tokens', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadSmall('timm-vit-fused-traced');
  });
  afterAll(() => model.close());

  const compute = async (
    matrices: readonly number[][][],
    formula: (values: Value[]) => Value,
    width = 3,
  ): Promise<number[]> => {
    const method = defineMethod({
      name: 'test-formula',
      options: z.strictObject({}),
      usesLayer: false,
      isClassSpecific: false,
      reasonAgainst: () => null,
      map: ({ model: seen }) => {
        const zeros = eyeLike(sum(seen.output.attention(0), 'heads')).mul(0);
        const batch = sum(sum(zeros, 'keys'), 'queries');
        const values = matrices.map((matrix) =>
          constant(seen.image, new Float32Array(matrix.flat()), { queries: 3, keys: 3 }).add(batch),
        );
        const given = values.map((value) => symbolic.transpose(value, ['batch', 'queries', 'keys']));
        return split(formula(given), 'keys', { height: 1, width });
      },
    });
    const [explained] = await model.explain(IMAGE, { method, size: 'grid', raw: true });
    return [...explained!.maps[0]!.data];
  };
  const close = (found: number[], expected: number[]): void => {
    expect(found.length).toBe(expected.length);
    // Numbers that float32 rounds, a residual, a normalization and two products of matrices of three: two dozen
    // roundings at most.
    expectWithin(found, expected, 24, Math.max(...expected.map(Math.abs)));
  };
  const firstRow = (matrix: Value): Value => select(matrix, 'queries', 0);
  const A = [
    [0.2, 0.6, 0.2],
    [0, 0.5, 0.5],
    [0.4, 0.4, 0.2],
  ];
  const B = [
    [0.5, 0.25, 0.25],
    [0.1, 0.8, 0.1],
    [0.3, 0.3, 0.4],
  ];
  const AS_IN_THE_PAPER = { residualWeight: 0.5, rowNormalization: true };

  it('adds half of the identity: 0.5 [0.2 0.6 0.2] + 0.5 [1 0 0]', async () => {
    close(await compute([A], ([a]) => firstRow(withResidual(a!, AS_IN_THE_PAPER))), [0.6, 0.3, 0.1]);
  });

  it('weighs the identity as told, and leaves it out at 0', async () => {
    close(
      await compute([A], ([a]) => firstRow(withResidual(a!, { residualWeight: 0.75, rowNormalization: true }))),
      [0.8, 0.15, 0.05],
    );
    close(
      await compute([A], ([a]) => firstRow(withResidual(a!, { residualWeight: 0, rowNormalization: true }))),
      [0.2, 0.6, 0.2],
    );
  });

  it('divides rows by their sums: [2 6 2] becomes [12 6 2] / 20 with the residual of 10', async () => {
    const large = A.map((row) => row.map((value) => value * 10));
    close(
      await compute([large], ([a]) => firstRow(withResidual(a!, { residualWeight: 0.5, rowNormalization: true }))),
      [3 / 11, 6 / 11, 2 / 11],
    );
    close(
      await compute([large], ([a]) => firstRow(withResidual(a!, { residualWeight: 0.5, rowNormalization: false }))),
      [1.5, 3, 1],
    );
  });

  it('keeps a row without any entry at zero instead of NaN', async () => {
    const empty = [[0, 0, 0], ...A.slice(1)];
    close(
      await compute([empty], ([a]) => firstRow(withResidual(a!, { residualWeight: 0, rowNormalization: true }))),
      [0, 0, 0],
    );
  });

  it('multiplies the last block from the left: row 0 of B A', async () => {
    // [0.5 0.25 0.25] A = [0.1 + 0 + 0.1, 0.3 + 0.125 + 0.1, 0.1 + 0.125 + 0.05]
    close(await compute([A, B], (flow) => carryDown(firstRow(flow[1]!), flow)), [0.2, 0.525, 0.275]);
  });

  it("divides column j by row j's sum where vit-explain does", async () => {
    const uneven = [
      [1, 1, 0],
      [0, 1, 0],
      [0, 0, 3],
    ];
    // (A + I) / 2 = [1 .5 0; 0 1 0; 0 0 2], row sums 1.5, 1, 2.
    close(await compute([uneven], ([a]) => firstRow(mixedByColumns(a!))), [1 / 1.5, 0.5, 0]);
    close(await compute([uneven], ([a]) => select(mixedByColumns(a!), 'queries', 2)), [0, 0, 1]);
  });

  it('fuses heads by mean, largest, smallest, or one of them', async () => {
    const fused =
      (fusion: 'mean' | 'max' | 'min' | number) =>
      ([a, b]: Value[]): Value => {
        const heads = stack([a!, b!], 'heads');
        const twoHeads = { inspection: { attention: [{ heads: 2 }] } } as unknown as symbolic.SymbolicModel;
        return firstRow(fuseHeads(twoHeads, 0, heads, fusion));
      };
    close(await compute([A, B], fused('mean')), [0.35, 0.425, 0.225]);
    close(await compute([A, B], fused('max')), [0.5, 0.6, 0.25]);
    close(await compute([A, B], fused('min')), [0.2, 0.25, 0.2]);
    close(await compute([A, B], fused(1)), [0.5, 0.25, 0.25]);
  });

  it('finds the largest flow, target by target', async () => {
    // From token 0 on top: edges 0.5 to x0, 0.5 to x1; x0 gives 0.2, 0.8, 0 to the inputs, x1 gives 0.6, 0.1, 0.3.
    const upper = [
      [0.5, 0.5, 0],
      [0, 1, 0],
      [0, 0, 1],
    ];
    const lower = [
      [0.2, 0.8, 0],
      [0.6, 0.1, 0.3],
      [0, 0, 1],
    ];
    // To input 0: min(.5, .2) + min(.5, .6); to 1: min(.5, .8) + min(.5, .1); to 2: 0 + min(.5, .3).
    close(await compute([lower, upper], (flow) => symbolic.attentionFlow(flow, 0)), [0.7, 0.6, 0.3]);
  });
});

describe('rows of a rollout', () => {
  it.each(['timm-vit-fused-traced', 'timm-dinov2-registers-traced', 'timm-vit-average-traced'])(
    'sum to 1 over all tokens: %s',
    async (archive) => {
      await using model = await loadSmall(archive);
      const method = defineMethod({
        name: 'test-row-sums',
        options: z.strictObject({}),
        usesLayer: false,
        isClassSpecific: false,
        reasonAgainst: () => null,
        map: ({ model: seen }) => {
          const flow = seen.output.attentions.map((attention, block) =>
            withResidual(fuseHeads(seen, block, attention, 'max'), { residualWeight: 0.5, rowNormalization: true }),
          );
          const row = carryDown(rowOf(seen, flow.at(-1)!, 'classifier'), flow);
          return split(row, 'keys', { height: 1, width: seen.inspection.attention[0]!.keys });
        },
      });
      const [explained] = await model.explain(IMAGE, { method, size: 'grid', raw: true });
      const total = explained!.maps[0]!.data.reduce((sum, value) => sum + value, 0);
      // Rows are normalized to rounding, and each product with the next is a sum over the keys.
      const { attention } = await model.inspect();
      const roundings = attention.length * (2 * attention[0]!.keys + 4);
      expect(Math.abs(total - 1)).toBeLessThanOrEqual(roundings * ROUNDOFF);
      expect(explained!.maps[0]!.min).toBeGreaterThanOrEqual(0);
    },
  );
});
