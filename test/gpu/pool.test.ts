import { expect, it } from 'vitest';

import { deviceMemory, stats, versions } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

// TensorFloat-32 convolutions, LibTorch's default on CUDA, keep 10 bits of the mantissa: off, so that a wrong value
// shows.
process.env['NVIDIA_TF32_OVERRIDE'] = '0';

it('all GPUs as one: results as on the CPU, weights on each, and none left after close', async () => {
  const gpus = versions().cudaDevices;
  const names = Array.from({ length: gpus }, (_, i) => `cuda:${i}` as const);
  const { models } = stats();
  await using onCpu = await loadSmall('timm-vit-fused-traced');
  const pool = await loadSmall('timm-vit-fused-traced', { device: 'cuda:all', maxBatch: 4 });
  expect(pool.device).toBe(names.join(','));
  expect(pool.weightBytes).toBe(gpus * onCpu.weightBytes);
  expect(stats().models).toBe(models + 1 + gpus);
  const idle = names.map((name) => deviceMemory(name, { resetPeak: true })!.allocated);
  const images = randomTensor(64, 24, 40, 3);
  const options = { method: 'gae', targets: [1, 3] } as const;
  const [expected, found] = [await onCpu.explain(images, options), await pool.explain(images, options)];
  for (const [i, { maps }] of found.entries()) {
    for (const [t, map] of maps.entries()) {
      await expectRounded(map.data, expected[i]!.maps[t]!.data, `image ${i}, target ${t}`, {
        model: onCpu,
        again: async (seed) => (await onCpu.explain(nudged(images, seed), options))[i]!.maps[t]!.data,
      });
    }
  }
  // Every GPU had work.
  names.forEach((name, i) => expect(deviceMemory(name)!.peak).toBeGreaterThan(idle[i]!));
  await pool.close();
  expect(stats().models).toBe(models + 1);
});

it('takes GPUs by a list, and refuses one that is not there without keeping the others', async () => {
  const { models } = stats();
  await using one = await loadSmall('timm-vit-fused-traced', { device: ['cuda:0'] });
  expect(one.device).toBe('cuda:0');
  await expect(loadSmall('timm-vit-fused-traced', { device: ['cuda:0', 'cuda:99'] })).rejects.toMatchObject({
    code: 'DEVICE_UNAVAILABLE',
  });
  expect(stats().models).toBe(models + 1);
});
