import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { loadSmall, plainCard, randomTensor } from '../support/models.js';
import { findPython, runPython } from '../support/python.js';

interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

/** Float32's own rounding of numbers around 1, after some dozens of operations. */
const FLOAT32 = 2 ** -19;

const python = findPython();

it.skipIf(python === null)(
  'gradients through a batch norm between a map and tokens are right for one image as for two',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sightline-batch-norms-'));
    try {
      await runPython(python!, ['test/graphs/batch_norms.py', folder]);
      const { images, gradient } = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8')) as Record<
        string,
        Numbers
      >;
      const [count, , height, width] = images!.shape as [number, number, number, number];
      const size = images!.data.length / count;
      // Of each pixel, the largest of its channels' gradients by size.
      const wanted = Array.from({ length: count * height * width }, (_, at) => {
        const [image, place] = [Math.floor(at / (height * width)), at % (height * width)];
        return Math.max(
          ...[0, 1, 2].map((channel) => Math.abs(gradient!.data[image * size + channel * height * width + place]!)),
        );
      });
      const limit = FLOAT32 * Math.max(...wanted);
      for (const optimize of [true, false]) {
        await using model = await Model.load(join(folder, 'batch-norms.pt'), {
          device: 'cpu',
          optimize,
          card: plainCard(height, width),
        });
        const explain = async (from: number, to: number): Promise<number[]> => {
          const input = {
            data: Float32Array.from(images!.data.slice(from * size, to * size)),
            shape: [to - from, 3, height, width] as const,
          };
          const explained = await model.explain(input, {
            method: 'gradient',
            channels: 'max-abs',
            targets: [1],
            raw: true,
            size: 'grid',
          });
          return explained.flatMap(({ maps }) => [...maps[0]!.data]);
        };
        for (const found of [await explain(0, count), [...(await explain(0, 1)), ...(await explain(1, 2))]]) {
          expect(found).toHaveLength(wanted.length);
          expect(Math.max(...found.map((value, at) => Math.abs(value - wanted[at]!)))).toBeLessThanOrEqual(limit);
        }
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);

it('the gradient of windowed attention has the shape of the attention', async () => {
  await using model = await loadSmall('timm-swin-traced');
  const { attention, gradients } = await model.capture(randomTensor(2, 24, 40), {
    attention: 'all',
    gradients: { target: 1 },
  });
  for (const [site, { shape, data }] of Object.entries(attention)) {
    expect(gradients!.attention[Number(site)]!.shape).toEqual(shape);
    expect(gradients!.attention[Number(site)]!.data).toHaveLength(data.length);
  }
});
