import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { stats, versions, type Explanation, type MethodName, type Model } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

// TensorFloat-32 convolutions, LibTorch's default on CUDA, keep 10 bits of the mantissa: off, so that a wrong value
// shows.
process.env['NVIDIA_TF32_OVERRIDE'] = '0';

/** Forward alone, and forward with backward. */
const CASES: [string, [number, number], MethodName[]][] = [
  ['torchvision-resnet-traced', [32, 48], ['cam', 'grad-cam', 'layer-cam']],
  ['timm-vit-fused-traced', [24, 40], ['attention-rollout', 'gradient-rollout', 'gae', 'grad-cam']],
];

describe.skipIf(!versions().cudaGraphs).each(CASES)('CUDA graphs of %s', (archive, [height, width], methods) => {
  let plain: Model;
  let replaying: Model;
  beforeAll(async () => {
    plain = await loadSmall(archive, { device: 'cuda', cudaGraphs: false });
    replaying = await loadSmall(archive, { device: 'cuda' });
  });
  afterAll(() => Promise.all([plain.close(), replaying.close()]));

  it.each(methods)(
    '%s: a replay gives what a plain run gives, for other images and other targets too',
    async (method) => {
      const before = stats();
      const explain = async (model: Model, round: number, count: number, seed = 0): Promise<Explanation[]> => {
        const options = { method, targets: [round % 5, (round + 2) % 5] } as never;
        return await model.explain(nudged(randomTensor(count, height, width, 100 + round), seed), options);
      };
      /** Nudged runs are counted as well: what is compared is looked at once the counts have been read. */
      const compared: (() => Promise<void>)[] = [];
      for (const count of [1, 3]) {
        for (let round = 0; round < 7; round++) {
          const expected = await explain(plain, round, count);
          const found = await explain(replaying, round, count);
          found.forEach(({ maps, predictions }, i) => {
            expect(predictions[0]!.index).toBe(expected[i]!.predictions[0]!.index);
            maps.forEach((map, t) =>
              compared.push(() =>
                expectRounded(map.data, expected[i]!.maps[t]!.data, `round ${round}`, {
                  model: plain,
                  again: async (seed) => (await explain(plain, round, count, seed))[i]!.maps[t]!.data,
                }),
              ),
            );
          });
        }
      }
      const after = stats();
      expect(after.graphsRefused - before.graphsRefused).toBe(0);
      expect(after.graphsCaptured - before.graphsCaptured).toBe(2);
      // From the third run of each shape on.
      expect(after.graphsReplayed - before.graphsReplayed).toBe(2 * 4);
      for (const compare of compared) await compare();
    },
  );

  it('keeps results that were handed out when later replays run', async () => {
    const images = [1, 2, 3].map((seed) => randomTensor(1, height, width, seed));
    const explain = async (model: Model, i: number, seed = 0): Promise<Float32Array> =>
      (await model.explain(nudged(images[i]!, seed), { method: methods[0]!, targets: [1] } as never))[0]!.maps[0]!.data;
    const expected = [await explain(plain, 0), await explain(plain, 1), await explain(plain, 2)];
    for (let i = 0; i < 3; i++) await explain(replaying, i);
    const found = [await explain(replaying, 0), await explain(replaying, 1), await explain(replaying, 2)];
    for (const [i, map] of found.entries()) {
      await expectRounded(map, expected[i]!, `image ${i}`, { model: plain, again: (seed) => explain(plain, i, seed) });
    }
  });
});
