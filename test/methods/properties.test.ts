import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { METHOD_NAMES, type Explanation, type MethodName, type Model, type NamedOptions } from '../../lib/index.js';
import { FEW_SAMPLES } from '../support/few-samples.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

const ARCHIVES = [
  ['torchvision-resnet-traced', [32, 48]],
  ['timm-vit-fused-traced', [24, 40]],
  ['timm-swin-traced', [24, 40]],
] as const;
const seen = new Map<MethodName, string[]>();

describe.each(ARCHIVES)('%s', (archive, [height, width]) => {
  let model: Model;
  let applicable: Set<string>;
  const images = randomTensor(3, height, width, 17);
  const one = (i: number): { data: Float32Array; shape: number[] } => ({
    data: images.data.slice(i * 3 * height * width, (i + 1) * 3 * height * width),
    shape: [1, 3, height, width],
  });

  beforeAll(async () => {
    model = await loadSmall(archive);
    applicable = new Set((await model.inspect()).methods.filter(({ applies }) => applies).map(({ name }) => name));
  });
  afterAll(() => model.close());

  describe.each(METHOD_NAMES)('%s', (method) => {
    const options = { method, ...FEW_SAMPLES[method] } as unknown as NamedOptions<MethodName>;
    const explain = (input: object, more: object = {}): Promise<Explanation[]> =>
      model.explain(input as never, { ...options, ...more } as never);

    it('gives a batch what it gives single images, two targets what it gives in two calls, and repeats to the bit', async () => {
      if (!applicable.has(method)) {
        await expect(explain(one(0))).rejects.toMatchObject({ code: 'METHOD_NOT_APPLICABLE' });
        return;
      }
      seen.set(method, [...(seen.get(method) ?? []), archive]);
      const batch = await explain(images, { targets: [1, 4] });
      const again = await explain(images, { targets: [1, 4] });
      expect(
        again.map(({ maps }) => maps.map(({ data }) => data)),
        'twice the same',
      ).toEqual(batch.map(({ maps }) => maps.map(({ data }) => data)));
      for (const [i, explained] of batch.entries()) {
        for (const [t, target] of [1, 4].entries()) {
          const [alone] = await explain(one(i), { targets: [target] });
          // Concepts have no target: all maps are compared.
          const isPerTarget = explained.maps.length === 2 && alone!.maps.length === 1;
          const pairs = isPerTarget
            ? [[explained.maps[t]!, alone!.maps[0]!, 0] as const]
            : explained.maps.map((map, at) => [map, alone!.maps[at]!, at] as const);
          for (const [together, single, at] of pairs) {
            expect(single.state).toBe(together.state);
            const again = async (seed: number): Promise<Float32Array> =>
              (await explain(nudged(one(i), seed), { targets: [target] }))[0]!.maps[at]!.data;
            await expectRounded(single.data, together.data, `${archive} ${method}, image ${i}, target ${target}`, {
              model,
              again,
            });
          }
        }
      }
    });

    it('gives finite maps of zeros and of one colour, and says where they are flat', async () => {
      if (!applicable.has(method)) return;
      for (const value of [0, 0.7]) {
        const data = new Float32Array(3 * height * width).fill(value);
        const [explained] = await explain({ data, shape: [1, 3, height, width] }, { targets: [2] });
        for (const map of explained!.maps) {
          expect(map.state).not.toBe('nan');
          expect([...map.data].every(Number.isFinite)).toBe(true);
          expect(map.state).toBe(
            map.max - map.min <= 1e-6 * Math.max(Math.abs(map.min), Math.abs(map.max)) ? 'flat' : 'ok',
          );
        }
      }
    });
  });
});

it('tried every method on a model that it explains', () => {
  expect([...seen.keys()].sort()).toEqual([...METHOD_NAMES].sort());
});
