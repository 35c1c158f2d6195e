import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { quadrature } from '../../lib/methods/gradients/quadrature.js';
import type { Model } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';

const image = randomTensor(1, 32, 48);

describe('a count without sense', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());

  it.each([
    ['integrated-gradients of 10^8 steps', { method: 'integrated-gradients', steps: 1e8 }, /from 1 to 100000/],
    ['integrated-gradients of 10^5 steps by Gauss-Legendre', { method: 'integrated-gradients', steps: 1e5 }, /at most 4096 steps/],
    ['10^9 masks', { method: 'rise', masks: 1e9 }, /from 1 to 100000/],
    ['a million targets', { method: 'gradient', targets: Array.from({ length: 1_000_000 }, () => 1) }, /1,000,000 targets.*at most 4,096/],
    ['a million targets of one image of several', { method: 'gradient', targets: [Array.from({ length: 1_000_000 }, () => 1)] }, /1,000,000 targets/],
    ['100,000 layers', { method: 'grad-cam', layer: Array.from({ length: 100_000 }, () => 'layer4') }, /layer/],
    ['a window of 10^9 pixels', { method: 'occlusion', window: 1e9, stride: 1 }, /from 1 to 16384/],
  ] as const)('%s is refused before anything is computed, and does not hold the thread', async (_, options, message) => {
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const begun = performance.now();
    await expect(model.explain(image, options as never)).rejects.toMatchObject({ code: 'INVALID_OPTION', message: expect.stringMatching(message) });
    // These took from half a second to minutes.
    expect(performance.now() - begun).toBeLessThan(400);
    clearInterval(timer);
    expect(longest).toBeLessThan(400);
  });

  it('a list of 10,000 methods is refused', async () => {
    await expect(model.explain(image, Array.from({ length: 10_000 }, () => ({ method: 'gradient' as const })))).rejects.toMatchObject({ code: 'INVALID_OPTION', message: expect.stringMatching(/at most 100/) });
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

  it('takes no more time for 4096 than a frame has tenfold', () => {
    const begun = performance.now();
    quadrature('gauss-legendre', 4096);
    expect(performance.now() - begun).toBeLessThan(1000);
  });
});
