import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';

import { quadrature } from '../../lib/methods/gradients/quadrature.js';
import { METHODS } from '../../lib/methods/index.js';
import { stats, type Method, type Model } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';

const image = randomTensor(1, 32, 48);

/** Counts that make sense. */
const SMALL = {
  'integrated-gradients': { steps: 2 },
  rise: { masks: 2 },
  occlusion: { window: 16, stride: 16 },
} as const;

/** A list of one value, and how many of its places were read: a million that are looked at hold the thread. */
function counted<T>(value: T, length: number): { readonly list: T[]; readonly reads: () => number } {
  let reads = 0;
  const list = new Proxy(
    Array.from({ length }, () => value),
    {
      get: (target, key, receiver) => {
        if (typeof key === 'string' && /^\d+$/.test(key)) reads++;
        return Reflect.get(target, key, receiver) as unknown;
      },
    },
  );
  return { list, reads: () => reads };
}

describe('a count without sense', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it.each([
    ['integrated-gradients of 10^8 steps', { method: 'integrated-gradients', steps: 1e8 }, /from 1 to 100000/],
    [
      'integrated-gradients of 10^5 steps by Gauss-Legendre',
      { method: 'integrated-gradients', steps: 1e5 },
      /at most 4096 steps/,
    ],
    ['10^9 masks', { method: 'rise', masks: 1e9 }, /from 1 to 100000/],
    ['a window of 10^9 pixels', { method: 'occlusion', window: 1e9, stride: 1 }, /from 1 to 16384/],
  ] as const)('%s is refused before it is recorded or computed', async (_, options, message) => {
    const map = vi.spyOn(METHODS[options.method] as Method, 'map');
    const { completed, failed, queued } = stats();
    await expect(model.explain(image, options as never)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(message) as string,
    });
    // Where a range depends on another option, the method itself refuses.
    expect(map.mock.results.filter(({ type }) => type !== 'throw')).toEqual([]);
    expect(stats()).toMatchObject({ completed, failed, queued });
    // What makes sense is computed, and counted there.
    await model.explain(image, { method: options.method, ...SMALL[options.method] } as never);
    expect(stats().completed).toBe(completed + 1);
  });

  it('a million targets are refused before they are looked at', async () => {
    const { list, reads } = counted(1, 1_000_000);
    for (const targets of [list, [list]]) {
      await expect(model.explain(image, { method: 'gradient', targets })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(/1,000,000 targets.*at most 4,096/) as string,
      });
    }
    expect(reads()).toBeLessThan(10);
    // The count counts: one call of few targets reads them.
    const few = counted(1, 3);
    await model.explain(image, { method: 'gradient', targets: few.list });
    expect(few.reads()).toBeGreaterThanOrEqual(3);
  });

  it('100,000 layers are refused after each was looked at once or twice, and before a step is recorded', async () => {
    const map = vi.spyOn(METHODS['grad-cam'] as Method, 'map');
    const { list, reads } = counted('layer4', 100_000);
    await expect(model.explain(image, { method: 'grad-cam', layer: list })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(/layer/) as string,
    });
    expect(reads()).toBeLessThanOrEqual(200_000);
    expect(map).not.toHaveBeenCalled();
  });

  it('a list of 10,000 methods is refused', async () => {
    await expect(
      model.explain(
        image,
        Array.from({ length: 10_000 }, () => ({ method: 'gradient' as const })),
      ),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION', message: expect.stringMatching(/at most 100/) });
  });

  it('the most that are taken work, and can be aborted', async () => {
    const abort = new AbortController();
    const work = model.explain(image, { method: 'integrated-gradients', steps: 4096, signal: abort.signal }).then(
      () => 'resolved',
      ({ code }: { code: string }) => code,
    );
    setTimeout(() => abort.abort(), 50);
    expect(await work).toBe('ABORTED');
  });
});

describe('Gauss-Legendre points', () => {
  it.each([1, 2, 5, 50, 513, 4096])('%i of them integrate powers exactly, and lie in order within (0, 1)', (count) => {
    const { points, weights } = quadrature('gauss-legendre', count);
    for (const power of [0, 1, 2 * count - 1].filter((each) => each < 200)) {
      const integral = points.reduce((sum, point, i) => sum + weights[i]! * point ** power, 0);
      expect(integral).toBeCloseTo(1 / (power + 1), 12);
    }
    expect(points.every((point, i) => point > (points[i - 1] ?? 0) && point < 1)).toBe(true);
  });

  it('take time that grows with the square of their number, and no faster', () => {
    const cpuOf = (work: () => void): number => {
      const before = process.cpuUsage();
      work();
      const { user, system } = process.cpuUsage(before);
      return user + system;
    };
    // 64 rules of 512 points are as much work as one of 4096, by squares; by cubes they would be an eighth of it.
    const ratios = Array.from({ length: 3 }, () => {
      const many = cpuOf(() => {
        for (let i = 0; i < 64; i++) quadrature('gauss-legendre', 512);
      });
      return cpuOf(() => quadrature('gauss-legendre', 4096)) / many;
    });
    expect(Math.min(...ratios)).toBeLessThan(4);
  });
});
