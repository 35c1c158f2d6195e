import { describe, expect, it } from 'vitest';

import { Model, sufficiency, type Explanation } from '../../lib/index.js';

type Given = Pick<Explanation, 'maps' | 'predictions'>;
const explained = (data: number[], index: number, state: 'ok' | 'flat' = 'ok'): Given =>
  ({
    maps: [{ data: Float32Array.from(data), shape: [2, 2], state }],
    predictions: [{ index, label: String(index), score: 1 }],
  }) as unknown as Given;

describe('sufficiency', () => {
  it('is the share of like maps whose class is the same, by hand', () => {
    const maps = [
      explained([0, 0, 0, 1], 3),
      // The same in another unit, and of another class.
      explained([5, 5, 5, 9], 4),
      // 0.1 off at one of four places: a distance of 0.05.
      explained([0, 0, 0.1, 1], 3),
      explained([1, 0, 0, 0], 3),
      explained([2, 2, 2, 2], 3, 'flat'),
    ];
    expect(sufficiency(maps)).toEqual([1 / 2, 0, 1 / 2, NaN, NaN]);
    expect(sufficiency(maps, { threshold: 0.04 })).toEqual([0, 0, NaN, NaN, NaN]);
    // Two places of four that differ by 1: 0.7.
    expect(sufficiency(maps, { threshold: 0.71 })).toEqual([2 / 3, 0, 2 / 3, 2 / 3, NaN]);
  });

  it('is 1 for an image that comes twice', async () => {
    await using model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
    const picture = new URL('../../models/eval/000.png', import.meta.url);
    expect(sufficiency(await model.explain([picture, picture], { method: 'grad-cam', raw: true }))).toEqual([1, 1]);
  });

  it('is refused for maps of several shapes, and without predictions', () => {
    const other = { ...explained([1, 2], 0), maps: [{ data: Float32Array.of(1, 2), shape: [1, 2], state: 'ok' }] };
    expect(() => sufficiency([explained([1, 2, 3, 4], 0), other as unknown as Given])).toThrow('2 x 2 and 1 x 2');
    expect(() => sufficiency([{ ...explained([1, 2, 3, 4], 0), predictions: [] }])).toThrow('`top` of 1 or more');
    expect(() => sufficiency([explained([1, 2, 3, 4], 0)], { threshold: 2 })).toThrow('threshold');
    expect(sufficiency([])).toEqual([]);
    for (const junk of [null, 3, 'explanations', [null], [{ maps: [{}], predictions: [] }]]) {
      expect(() => sufficiency(junk as unknown as Given[])).toThrow('a list of explanations');
    }
  });
});
