import { fileURLToPath } from 'node:url';

import { expect, it } from 'vitest';

import { Model, stats, type Capture, type Explanation, type Input } from '../../lib/index.js';
import { loadSmall, pixelsOf, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

// TensorFloat-32 convolutions, LibTorch's default on CUDA, keep 10 bits of the mantissa: off, so that a wrong value
// shows.
process.env['NVIDIA_TF32_OVERRIDE'] = '0';

const PICTURES = ['000', '001', '002', '003'].map((name) =>
  fileURLToPath(new URL(`../../models/eval/${name}.png`, import.meta.url)),
);

/** Every explanation of many concurrent calls, in order. */
async function all(
  model: Model,
  inputs: readonly (Input | readonly Input[])[],
  options: (i: number) => object,
): Promise<Explanation[]> {
  return (await Promise.all(inputs.map((input, i) => model.explain(input, options(i) as never)))).flat();
}

/** What the CPU answered, and answers of nudged pixels. */
interface OnCpu {
  readonly model: Model;
  readonly inputs: readonly (Input | readonly Input[])[];
  readonly options: (i: number) => object;
  readonly expected: readonly Explanation[];
  /** What is promised of a map besides, where pixels are resized on the device too. */
  readonly promised?: number;
}

async function expectEqual(found: readonly Explanation[], onCpu: OnCpu): Promise<void> {
  const { model, inputs, options, expected, promised } = onCpu;
  expect(found).toHaveLength(expected.length);
  const again = async (seed: number): Promise<Explanation[]> =>
    all(
      model,
      await Promise.all(inputs.map(async (input) => nudged(await pixelsOf(model, input as Input), seed))),
      options,
    );
  for (const [i, { maps }] of found.entries()) {
    for (const [t, map] of maps.entries()) {
      await expectRounded(map.data, expected[i]!.maps[t]!.data, `image ${i}`, {
        model,
        again: async (seed) => (await again(seed))[i]!.maps[t]!.data,
        ...(promised !== undefined && { promised }),
      });
    }
  }
}

it('concurrent tensors of mixed sizes and methods give what the CPU gives, each its own', async () => {
  const sizes = [
    [32, 48],
    [64, 64],
    [40, 32],
  ] as const;
  const inputs = Array.from({ length: 120 }, (_, i) => {
    const [height, width] = sizes[i % 3]!;
    return randomTensor(1 + (i % 3), height, width, i);
  });
  const methods = ['grad-cam', 'cam', 'layer-cam', 'input-x-gradient'];
  const options = (i: number): object => ({ method: methods[i % 4], targets: [i % 5] });
  await using onCpu = await loadSmall('timm-resnet-traced');
  await using onGpu = await loadSmall('timm-resnet-traced', { device: 'cuda', maxBatch: 4 });
  const expected = await all(onCpu, inputs, options);
  for (let round = 0; round < 3; round++) {
    await expectEqual(await all(onGpu, inputs, options), { model: onCpu, inputs, options, expected });
  }
  const { queued, running } = stats();
  expect({ queued, running }).toEqual({ queued: 0, running: 0 });
});

it('concurrent pictures are resized and normalised on the GPU as on the CPU', async () => {
  const inputs = Array.from({ length: 40 }, (_, i) => PICTURES[i % 4]!);
  const options = (): object => ({ method: 'grad-cam', targets: ['top1'], raw: true });
  await using onCpu = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
  await using onGpu = await Model.load('resnet-tiny-shapes', { device: 'cuda' });
  const expected = await all(onCpu, inputs, options);
  // What docs/parity.md promises of a map.
  await expectEqual(await all(onGpu, inputs, options), { model: onCpu, inputs, options, expected, promised: 1e-4 });
});

it('what is aborted or closed while copies are under way neither hangs nor spoils its neighbours', async () => {
  const images = randomTensor(16, 32, 48, 5);
  await using onCpu = await loadSmall('timm-resnet-traced');
  const options = (): object => ({ method: 'grad-cam', targets: [1] });
  const expected = await all(onCpu, [images], options);
  for (let round = 0; round < 20; round++) {
    const model = await loadSmall('timm-resnet-traced', { device: 'cuda', maxBatch: 4 });
    const abort = new AbortController();
    const kept = model.explain(images, { method: 'grad-cam', targets: [1] });
    const dropped = model
      .explain(images, { method: 'grad-cam', targets: [1], signal: abort.signal })
      .catch(({ code }: { code: string }) => code);
    setTimeout(() => abort.abort(), round);
    const closing = model.close();
    await expectEqual(await kept, { model: onCpu, inputs: [images], options, expected });
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
    await expectRounded(of(found)[targetLayer]!.data, of(expected)[targetLayer]!.data, targetLayer, {
      model: onCpu,
      again: async (seed) => of(await onCpu.capture(nudged(images, seed), options))[targetLayer]!.data,
    });
  }
});
