import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { deviceMemory, Model, stats, type Explanation } from '../../lib/index.js';
import { skeletonOf } from '../../lib/models/catalog.js';
import { safetensorsOf, seeded } from '../support/checkpoints.js';
import { loadSmall, plainCard, randomTensor } from '../support/models.js';
import { relativeDifference } from '../support/safetensors.js';
import { asDevice, DEVICES, emulated, expectSame, IS_GPU, loadBoth, watched } from './device.js';

const RESNET = 'torchvision-resnet-traced';
const VIT = 'timm-vit-fused-traced';
const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-device-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** For what adds in another order than the CPU does: to float32's rounding of a few hundred sums. */
function expectClose(found: readonly Explanation[], expected: readonly Explanation[]): void {
  expect(found).toHaveLength(expected.length);
  found.forEach(({ maps }, i) =>
    maps.forEach(({ data }, t) => expect(relativeDifference(data, expected[i]!.maps[t]!.data)).toBeLessThan(1e-4)),
  );
}

describe.each(['bf16', 'f16'] as const)('in %s', (dtype) => {
  it.each([
    [RESNET, [32, 48], ['cam', 'grad-cam', 'layer-cam', 'eigen-cam', 'integrated-gradients']],
    [VIT, [24, 40], ['attention-rollout', 'gradient-rollout', 'gae', 'attn-lrp', 'grad-cam']],
  ] as const)('%s gives what the CPU gives', async (archive, [height, width], methods) => {
    const { onCpu, there } = await loadBoth(archive, { dtype });
    const images = randomTensor(3, height, width, 2);
    for (const method of methods) {
      const options = { method, targets: [1, 3], raw: true } as never;
      const expected = await onCpu.explain(images, options);
      const { result } = await watched(() => there.explain(images, options));
      // Rounded to 8 and 11 bits, a GPU's sums differ by more.
      if (!IS_GPU) expectSame(result, expected, method);
      else expect(result.every(({ maps }) => maps.every(({ state }) => state === 'ok'))).toBe(true);
    }
    await Promise.all([onCpu.close(), there.close()]);
  });
});

describe('tuned graphs', () => {
  it.each([
    [RESNET, [32, 48], 'grad-cam'],
    [VIT, [24, 40], 'gradient-rollout'],
  ] as const)(
    '%s: tuned for a device, answers stay what they are to rounding',
    async (archive, [height, width], method) => {
      const plain = await loadSmall(archive, { device: 'cpu', optimize: false });
      const tuned = await loadSmall(archive, { device: asDevice(DEVICES[0]) });
      const images = randomTensor(3, height, width, 8);
      const options = { method, targets: [1, 3], raw: true } as const;
      const expected = await plain.explain(images, options);
      const { result, waits } = await watched(() => tuned.explain(images, options));
      expectClose(result, expected);
      expect(waits?.readBacks ?? {}).toEqual({});
      await Promise.all([plain.close(), tuned.close()]);
    },
  );
});

describe('a checkpoint set into a skeleton', () => {
  it('gives what it gives on the CPU', async () => {
    const { card: skeleton } = await skeletonOf('test_vit');
    const file = path.join(folder, 'test-vit.safetensors');
    writeFileSync(file, safetensorsOf(seeded(skeleton, 5, 101)));
    const card = { ...plainCard(160, 160), architecture: 'test_vit' };
    const { onCpu, there } = await loadBoth(file, { card }, (name, options) => Model.load(name, options));
    const images = randomTensor(2, 160, 160, 6);
    const options = { method: 'gae', targets: [1, 3], raw: true } as const;
    const expected = await onCpu.explain(images, options);
    const { result } = await watched(() => there.explain(images, options));
    // The CPU's weights are used where they lie in the file, and kernels begin their sums by where that is.
    expectClose(result, expected);
    await Promise.all([onCpu.close(), there.close()]);
  });
});

describe('batches', () => {
  it('concurrent calls of mixed sizes and methods each get their own', async () => {
    const { onCpu, there } = await loadBoth(RESNET, { maxBatch: 4 });
    const sizes = [
      [32, 48],
      [64, 64],
      [40, 32],
    ] as const;
    const ask = (model: Model): Promise<Explanation[][]> =>
      Promise.all(
        Array.from({ length: 18 }, (_, i) => {
          const [height, width] = sizes[i % 3]!;
          const method = (['grad-cam', 'cam', 'input-x-gradient'] as const)[i % 3];
          return model.explain(randomTensor(1 + (i % 3), height, width, i), {
            method,
            targets: [i % 5],
            raw: true,
          } as never);
        }),
      );
    const expected = await ask(onCpu);
    const { result } = await watched(() => ask(there));
    // A batch's kernels may add in another order than those of its singles, so this is to rounding.
    expectClose(result.flat(), expected.flat());
    await Promise.all([onCpu.close(), there.close()]);
    expect(stats()).toMatchObject({ queued: 0, running: 0 });
  });

  it.skipIf(IS_GPU)('one that does not fit is halved, and gives the same', async () => {
    const { onCpu, there } = await loadBoth(RESNET, { maxBatch: 16 });
    const images = randomTensor(16, 64, 96, 4);
    const options = { method: 'grad-cam', targets: [1], raw: true } as const;
    const expected = await onCpu.explain(images, options);
    await there.explain(randomTensor(1, 64, 96, 4), options);
    const { allocated } = deviceMemory(DEVICES[0], { resetPeak: true })!;
    await there.explain(randomTensor(4, 64, 96, 4), options);
    const { peak } = deviceMemory(DEVICES[0])!;
    const { halvedBatches } = stats();
    try {
      emulated!.limitMemory(allocated + 2 * (peak - allocated));
      const { result } = await watched(() => there.explain(images, options));
      expectClose(result, expected);
      expect(stats().halvedBatches).toBeGreaterThan(halvedBatches);
      emulated!.limitMemory(allocated + 1024);
      await expect(there.explain(randomTensor(1, 64, 96, 4), options)).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' });
    } finally {
      emulated!.limitMemory(null);
    }
    await there.explain(randomTensor(1, 64, 96, 4), options);
    await Promise.all([onCpu.close(), there.close()]);
  });
});

describe('what is not waited for any more', () => {
  it('an abort and a close while batches are under way neither hang nor spoil their neighbours', async () => {
    const images = randomTensor(12, 32, 48, 5);
    const plain = await loadSmall(RESNET, { optimize: false, maxBatch: 4 });
    const expected = await plain.explain(images, { method: 'grad-cam', targets: [1] });
    for (let round = 0; round < 4; round++) {
      const model = await loadSmall(RESNET, { device: asDevice(DEVICES[0]), optimize: false, maxBatch: 4 });
      await watched(async () => {
        const abort = new AbortController();
        const kept = model.explain(images, { method: 'grad-cam', targets: [1] });
        const dropped = model
          .explain(images, { method: 'smooth-grad', targets: [1], signal: abort.signal })
          .catch(({ code }: { code: string }) => code);
        setTimeout(() => abort.abort(), round * 5);
        const closing = model.close();
        expectSame(await kept, expected);
        const outcome = await dropped;
        if (typeof outcome === 'string') expect(outcome).toBe('ABORTED');
        await closing;
      });
    }
    await plain.close();
    expect(stats()).toMatchObject({ queued: 0, running: 0, models: 0 });
  });

  it('a closed model leaves no memory behind', async () => {
    const use = async (): Promise<number> => {
      const model = await loadSmall(VIT, { device: asDevice(DEVICES[0]) });
      await model.explain(randomTensor(2, 24, 40, 1), { method: 'gae', targets: [1] });
      await model.close();
      return deviceMemory(DEVICES[0])!.allocated;
    };
    // The first may count what the tests before it gave back late; what a model left behind would be in all later ones.
    const first = await use();
    for (let i = 0; i < 3; i++) expect(await use()).toBeLessThanOrEqual(first);
  });
});

describe('several devices as one', () => {
  it('share the work, give what one gives, and free their weights', async () => {
    const one = await loadSmall(VIT, { optimize: false, maxBatch: 4 });
    const pool = await loadSmall(VIT, { device: asDevice(DEVICES), optimize: false, maxBatch: 4 });
    expect(pool.device).toBe(DEVICES.join(','));
    expect(pool.weightBytes).toBe(DEVICES.length * one.weightBytes);
    const idle = DEVICES.map((name) => deviceMemory(name, { resetPeak: true })!.allocated);
    const images = randomTensor(24, 24, 40, 3);
    const options = { method: 'gae', targets: [1, 3], raw: true } as const;
    const expected = await one.explain(images, options);
    const { result } = await watched(() => pool.explain(images, options));
    expectSame(result, expected);
    DEVICES.forEach((name, i) => expect(deviceMemory(name)!.peak).toBeGreaterThan(idle[i]!));
    await Promise.all([one.close(), pool.close()]);
    expect(stats().models).toBe(0);
  });

  it('are refused together where one is not there', async () => {
    const odd = IS_GPU ? 'cuda:99' : 'emulated:7';
    const code = IS_GPU ? 'DEVICE_UNAVAILABLE' : 'INVALID_OPTION';
    await expect(loadSmall(VIT, { device: asDevice([DEVICES[0], odd]) })).rejects.toMatchObject({ code });
    expect(stats().models).toBe(0);
  });
});
