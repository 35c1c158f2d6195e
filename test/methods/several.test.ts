import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../lib/index.js';
import { parseExplainOptions } from '../../lib/requests/explain-options.js';
import { recordExplanations, withLayers } from '../../lib/requests/explain-plan.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

describe('several methods in one call', () => {
  let model: Model;
  let images: ReturnType<typeof randomTensor>;
  const targets = ['top1', 3] as const;

  beforeAll(async () => {
    model = await loadSmall('timm-vit-fused-traced');
    const { height, width } = await model.inspect();
    images = randomTensor(2, height, width, 3);
  });
  afterAll(() => model.close());

  it('gives what each gives alone, in the order asked for', async () => {
    const asked = [
      { method: 'attention-rollout', targets, discardRatio: 0.5 },
      { method: 'gae', targets, raw: true },
      { method: 'grad-cam', targets, layer: 'blocks.0.norm1', size: 'grid' },
      { method: 'integrated-gradients', targets, steps: 4, score: 'probability' },
    ] as const;
    const together = await model.explain(images, asked);
    expect(together).toHaveLength(2);
    for (const [i, options] of asked.entries()) {
      const explain = (seed = 0) =>
        model.explain(nudged(images, seed), options as Parameters<Model['explain']>[1] & { method: 'gae' });
      for (const [image, expected] of (await explain()).entries()) {
        const found = together[image]![i]!;
        expect(found.method).toBe(options.method);
        expect(found.options).toEqual(expected.options);
        expect(found.predictions.map(({ index }) => index)).toEqual(expected.predictions.map(({ index }) => index));
        expect(found.maps.map(({ target }) => target.index)).toEqual(expected.maps.map(({ target }) => target.index));
        for (const [t, { data, shape }] of found.maps.entries()) {
          expect(shape).toEqual(expected.maps[t]!.shape);
          const again = async (seed: number): Promise<Float32Array> => (await explain(seed))[image]!.maps[t]!.data;
          await expectRounded(expected.maps[t]!.data, data, `${options.method}, image ${image}, target ${t}`, {
            model,
            again,
          });
        }
      }
    }
    // Integrated gradients' own figures stay its own.
    expect(Object.keys(together[0]![3].maps[0]!.figures)).toContain('completenessError');
    expect(Object.keys(together[0]![1].maps[0]!.figures)).toEqual([]);
  });

  it('takes one backward pass for all that read gradients of one score, and one run for the same images', async () => {
    const inspection = await model.inspect();
    const stepsOf = (asked: readonly object[], op: string): number => {
      const requests = asked.map((each) => withLayers(parseExplainOptions(each), inspection, undefined));
      return recordExplanations(requests, inspection, model.card).block.steps.filter((step) => step.op === op).length;
    };
    const readers = [
      { method: 'gae' },
      { method: 'gradient-rollout' },
      { method: 'grad-cam', layer: 'blocks.0.norm1' },
    ];
    expect(stepsOf(readers, 'gradient')).toBe(1);
    expect(stepsOf(readers, 'forward')).toBe(1);
    expect(stepsOf([...readers, { method: 'gae', score: 'probability' }], 'gradient')).toBe(2);
    // Mirrored and brighter images, and the image itself, which tells the scores.
    const smoothed = ['grad-cam', 'hires-cam', 'layer-cam'].map((method) => ({
      method,
      layer: 'blocks.0.norm1',
      augmentationSmoothing: true,
    }));
    expect(stepsOf(smoothed, 'forward')).toBe(stepsOf(smoothed.slice(0, 1), 'forward'));
    expect(stepsOf(smoothed, 'gradient')).toBe(6);
    const elsewhere = { ...smoothed[0]!, layer: 'blocks.1.norm1' };
    expect(stepsOf([...smoothed, elsewhere], 'forward')).toBe(stepsOf(smoothed, 'forward'));
    expect(stepsOf([...smoothed, elsewhere], 'gradient')).toBe(6);
  });

  it('gives smoothed maps together as alone', async () => {
    const smoothed = (['grad-cam', 'layer-cam'] as const).map((method) => ({
      method,
      targets,
      layer: 'blocks.0.norm1',
      augmentationSmoothing: true,
    }));
    // Each image by itself, so that both ways compute in the same batches.
    await using single = await loadSmall('timm-vit-fused-traced', { maxBatch: 1 });
    const together = await single.explain(images, smoothed);
    for (const [at, options] of smoothed.entries()) {
      const alone = await single.explain(images, options);
      alone.forEach(({ maps }, image) => {
        expect(together[image]![at]!.maps.map(({ data }) => data)).toEqual(maps.map(({ data }) => data));
      });
    }
  });

  it('refuses an empty list, and methods that are asked for different targets or do not apply', async () => {
    await expect(model.explain(images, [])).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: /empty list of methods/,
    });
    await expect(
      model.explain(images, [
        { method: 'gae', targets: [1] },
        { method: 'grad-cam', targets: [2] },
      ]),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION', message: /gae and grad-cam are asked for different targets/ });
    await expect(
      model.explain(images, [{ method: 'gae' }, { method: 'grad-cam', signal: new AbortController().signal }]),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION', message: /different signals/ });
    await expect(model.explain(images, [{ method: 'gae' }, { method: 'cam' }])).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: /^cam cannot explain/,
    });
  });
});
