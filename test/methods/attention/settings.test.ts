import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { ExplainOptions, Model } from '../../../lib/index.js';
import { loadSmall, randomTensor } from '../../support/models.js';
import { expectRounded, nudged } from '../../support/rounding.js';
import { difference } from './references.js';

const IMAGE = randomTensor(1, 24, 40);

describe('settings of the family', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadSmall('timm-vit-fused-traced');
  });
  afterAll(() => model.close());

  const mapOf = async (options: ExplainOptions): Promise<Float32Array> =>
    (await model.explain(IMAGE, { ...options, targets: [2], size: 'grid', raw: true }))[0]!.maps[0]!.data;

  it('are reported as they took effect: defaults, then the preset, then what was given', async () => {
    const [plain] = await model.explain(IMAGE, { method: 'attention-rollout' });
    const defaults = {
      headFusion: 'mean',
      discardRatio: 0,
      startBlock: 0,
      endBlock: -1,
      residualWeight: 0.5,
      rowNormalization: true,
      combine: 'product',
      row: 'classifier',
    };
    expect(plain!.options).toEqual(defaults);
    const [preset] = await model.explain(IMAGE, { method: 'attention-rollout', preset: 'vit-explain' });
    expect(preset!.options).toEqual({ ...defaults, preset: 'vit-explain', headFusion: 'max', discardRatio: 0.9 });
    const [given] = await model.explain(IMAGE, {
      method: 'attention-rollout',
      preset: 'vit-explain',
      discardRatio: 0.5,
    });
    expect(given!.options).toEqual({ ...defaults, preset: 'vit-explain', headFusion: 'max', discardRatio: 0.5 });
  });

  it.each<[ExplainOptions, ExplainOptions]>([
    [
      { method: 'attention-rollout', preset: 'vit-explain' },
      { method: 'attention-rollout', headFusion: 'max', discardRatio: 0.9 },
    ],
    [
      { method: 'attention-rollout', preset: 'vit-explain', headFusion: 'mean', discardRatio: 0 },
      { method: 'attention-rollout', preset: 'abnar-2020' },
    ],
    [
      { method: 'attention-rollout', preset: 'chefer-2021-rollout' },
      { method: 'attention-rollout', startBlock: 1 },
    ],
    [
      { method: 'gradient-rollout', preset: 'vit-explain' },
      { method: 'gradient-rollout', headFusion: 'gradient-weighted', discardRatio: 0.9 },
    ],
    [
      { method: 'gae', preset: 'chefer-2021-clip' },
      { method: 'gae', startBlock: 1 },
    ],
    [
      { method: 'raw-attention', block: -1 },
      { method: 'raw-attention', block: 1 },
    ],
  ])('%j is %j', async (one, other) => {
    expect(await mapOf(one)).toEqual(await mapOf(other));
  });

  it('each change the map', async () => {
    const changes: ExplainOptions[] = [
      { method: 'attention-rollout' },
      { method: 'attention-rollout', headFusion: 'max' },
      { method: 'attention-rollout', headFusion: 'min' },
      { method: 'attention-rollout', headFusion: 2 },
      { method: 'attention-rollout', discardRatio: 0.5 },
      { method: 'attention-rollout', startBlock: 1 },
      { method: 'attention-rollout', endBlock: 0 },
      { method: 'attention-rollout', residualWeight: 0.2 },
      { method: 'attention-rollout', headFusion: 'max', rowNormalization: false },
      { method: 'attention-rollout', combine: 'sum' },
      { method: 'attention-rollout', row: 'patches' },
      { method: 'attention-rollout', row: 5 },
      { method: 'attention-rollout', headFusion: 'max', compat: 'vit-explain' },
    ];
    const maps = await Promise.all(changes.map(mapOf));
    for (let i = 0; i < maps.length; i++) {
      for (let j = 0; j < i; j++) {
        expect(
          difference(maps[i]!, maps[j]!),
          `${JSON.stringify(changes[i])} and ${JSON.stringify(changes[j])}`,
        ).toBeGreaterThan(1e-4);
      }
    }
  });

  it("give value zeroing's tokens to the model in batches as large as `memory` allows, with the same result", async () => {
    const [whole] = await model.explain(IMAGE, { method: 'value-zeroing', size: 'grid', raw: true });
    const explain = (seed = 0) =>
      model.explain(nudged(IMAGE, seed), { method: 'value-zeroing', size: 'grid', raw: true, memory: 1 });
    const [single] = await explain();
    expect(whole!.chunk).toBe(16);
    expect(single!.chunk).toBe(1);
    await expectRounded(single!.maps[0]!.data, whole!.maps[0]!.data, 'value-zeroing', {
      model,
      again: async (seed) => (await explain(seed))[0]!.maps[0]!.data,
    });
  });

  it("name the distillation token's row in a distilled model only", async () => {
    await using distilled = await loadSmall('timm-deit-distilled-traced');
    const rows = await Promise.all(
      (['class-token', 'distillation-token'] as const).map(
        async (row) =>
          (await distilled.explain(IMAGE, { method: 'raw-attention', row, size: 'grid', raw: true }))[0]!.maps[0]!.data,
      ),
    );
    const [second] = await distilled.explain(IMAGE, { method: 'raw-attention', row: 1, size: 'grid', raw: true });
    expect(rows[1]).toEqual(second!.maps[0]!.data);
    expect(difference(rows[0]!, rows[1]!)).toBeGreaterThan(1e-3);
    await using registers = await loadSmall('timm-dinov2-registers-traced');
    await expect(
      registers.explain(IMAGE, { method: 'raw-attention', row: 'distillation-token' }),
    ).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: 'row is distillation-token, but the model has 5 tokens before its patches, where a distilled one has 2.',
    });
  });
});
