import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { METHOD_NAMES, type Model } from '../../lib/index.js';
import { FEW_SAMPLES } from '../support/few-samples.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

// TensorFloat-32 convolutions, LibTorch's default on CUDA, keep 10 bits of the mantissa: off, so that a wrong value
// shows.
process.env['NVIDIA_TF32_OVERRIDE'] = '0';

describe.each([
  ['torchvision-resnet-traced', [32, 48]],
  ['timm-vit-fused-traced', [24, 40]],
] as const)('%s', (archive, [height, width]) => {
  let onCpu: Model;
  let onGpu: Model;
  const images = randomTensor(3, height, width, 17);

  beforeAll(async () => {
    onCpu = await loadSmall(archive);
    onGpu = await loadSmall(archive, { device: 'cuda' });
  });
  afterAll(() => Promise.all([onCpu.close(), onGpu.close()]));

  it.each(METHOD_NAMES)('%s gives on CUDA what it gives on the CPU', async (method) => {
    const { methods } = await onCpu.inspect();
    if (!methods.find(({ name }) => name === method)!.applies) return;
    const options = { method, ...FEW_SAMPLES[method], targets: [1, 4] } as never;
    const [expected, found] = [await onCpu.explain(images, options), await onGpu.explain(images, options)];
    for (const [i, { maps }] of found.entries()) {
      for (const [m, map] of maps.entries()) {
        expect(map.state).toBe(expected[i]!.maps[m]!.state);
        await expectRounded(map.data, expected[i]!.maps[m]!.data, `image ${i}, map ${m}`, {
          model: onCpu,
          again: async (seed) => (await onCpu.explain(nudged(images, seed), options))[i]!.maps[m]!.data,
        });
      }
    }
  });
});
