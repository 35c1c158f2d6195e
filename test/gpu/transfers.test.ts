import { fileURLToPath } from 'node:url';

import { expect, it } from 'vitest';

import { Model, stats, type Capture, type Explanation, type Input } from '../../lib/index.js';
import { relativeDifference } from '../support/safetensors.js';
import { loadSmall, randomTensor } from '../support/models.js';

// TensorFloat-32 convolutions, LibTorch's default on CUDA, keep 10 bits of the mantissa: off, so that a wrong value shows.
process.env['NVIDIA_TF32_OVERRIDE'] = '0';

const PICTURES = ['000', '001', '002', '003'].map((name) => fileURLToPath(new URL(`../../models/eval/${name}.png`, import.meta.url)));

/** Every explanation of many concurrent calls, in order. */
async function all(model: Model, inputs: readonly (Input | readonly Input[])[], options: (i: number) => object): Promise<Explanation[]> {
  return (await Promise.all(inputs.map((input, i) => model.explain(input, options(i) as never)))).flat() as Explanation[];
}

function expectEqual(found: readonly Explanation[], expected: readonly Explanation[], tolerance: number): void {
  expect(found).toHaveLength(expected.length);
  found.forEach(({ maps }, i) => maps.forEach((map, t) => expect(relativeDifference(map.data, expected[i]!.maps[t]!.data), `image ${i}`).toBeLessThan(tolerance)));
}

it('concurrent tensors of mixed sizes and methods give what the CPU gives, each its own', async () => {
  const sizes = [[32, 48], [64, 64], [40, 32]] as const;
  const inputs = Array.from({ length: 120 }, (_, i) => {
    const [height, width] = sizes[i % 3]!;
    return randomTensor(1 + (i % 3), height, width, i);
  });
  const methods = ['grad-cam', 'cam', 'layer-cam', 'input-x-gradient'];
  const options = (i: number): object => ({ method: methods[i % 4], targets: [i % 5] });
  await using onCpu = await loadSmall('timm-resnet-traced');
  await using onGpu = await loadSmall('timm-resnet-traced', { device: 'cuda', maxBatch: 4 });
  const expected = await all(onCpu, inputs, options);
  for (let round = 0; round < 3; round++) expectEqual(await all(onGpu, inputs, options), expected, 1e-3);
  const { queued, running } = stats();
  expect({ queued, running }).toEqual({ queued: 0, running: 0 });
});

it('concurrent pictures are resized and normalised on the GPU as on the CPU', async () => {
  const inputs = Array.from({ length: 40 }, (_, i) => PICTURES[i % 4]!);
  const options = (): object => ({ method: 'grad-cam', targets: ['top1'], raw: true });
  await using onCpu = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
  await using onGpu = await Model.load('resnet-tiny-shapes', { device: 'cuda' });
  expectEqual(await all(onGpu, inputs, options), await all(onCpu, inputs, options), 5e-3);
});

it('what is aborted or closed while copies are under way neither hangs nor spoils its neighbours', async () => {
  const images = randomTensor(16, 32, 48, 5);
  await using onCpu = await loadSmall('timm-resnet-traced');
  const expected = (await onCpu.explain(images, { method: 'grad-cam', targets: [1] })) as Explanation[];
  for (let round = 0; round < 20; round++) {
    const model = await loadSmall('timm-resnet-traced', { device: 'cuda', maxBatch: 4 });
    const abort = new AbortController();
    const kept = model.explain(images, { method: 'grad-cam', targets: [1] });
    const dropped = model.explain(images, { method: 'grad-cam', targets: [1], signal: abort.signal }).catch(({ code }: { code: string }) => code);
    setTimeout(() => abort.abort(), round);
    const closing = model.close();
    expectEqual((await kept) as Explanation[], expected, 1e-3);
    const outcome = await dropped;
    if (typeof outcome === 'string') expect(outcome).toBe('ABORTED');
    await closing;
  }
  expect(stats()).toMatchObject({ queued: 0, running: 0 });
});

it('large captured tensors come back whole', async () => {
  const images = randomTensor(8, 64, 64, 9);
  await using onCpu = await loadSmall('timm-resnet-traced');
  await using onGpu = await loadSmall('timm-resnet-traced', { device: 'cuda' });
  const { targetLayer } = await onCpu.inspect();
  const options = { features: [targetLayer], gradients: { target: 1 } };
  const [expected, found] = [await onCpu.capture(images, options), await onGpu.capture(images, options)];
  for (const of of [(each: Capture) => each.features, (each: Capture) => each.gradients!.features]) {
    expect(of(found)[targetLayer]!.shape).toEqual(of(expected)[targetLayer]!.shape);
    expect(relativeDifference(of(found)[targetLayer]!.data, of(expected)[targetLayer]!.data)).toBeLessThan(1e-3);
  }
});
