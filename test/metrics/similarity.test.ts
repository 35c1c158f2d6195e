import { execFileSync } from 'node:child_process';

import { describe, expect, it } from 'vitest';

import { similarityOf } from '../../lib/requests/sanity/similarity.js';
import { uniformNumbers } from '../../lib/support/random.js';
import { findPython } from '../support/python.js';

const python = findPython();

const map = (height: number, width: number, values: readonly number[]) => ({
  data: Float32Array.from(values),
  shape: [height, width] as const,
});

describe('how alike two maps are', () => {
  it('by hand', () => {
    const a = map(1, 4, [1, 2, 3, 4]);
    expect(similarityOf(a, map(1, 4, [10, 20, 30, 400]), 'spearman')).toBe(1);
    expect(similarityOf(a, map(1, 4, [4, 3, 2, 1]), 'spearman')).toBe(-1);
    // Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
    expect(similarityOf(map(1, 4, [0, 5, 5, 9]), a, 'spearman')).toBeCloseTo(4.5 / Math.sqrt(22.5), 12);
    expect(similarityOf(map(1, 4, [-1, 2, -3, 4]), a, 'absolute-spearman')).toBe(1);
    expect(similarityOf(a, a, 'ssim')).toBe(1);
    // A gain and an offset do not count where maps are brought to [0, 1].
    expect(similarityOf(a, map(1, 4, [3, 5, 7, 9]), 'ssim')).toBeCloseTo(1, 12);
  });

  it('is NaN of a flat map, and of one that is not finite', () => {
    for (const by of ['spearman', 'absolute-spearman', 'pearson', 'ssim'] as const) {
      expect(similarityOf(map(1, 3, [1, 1, 1]), map(1, 3, [1, 2, 3]), by)).toBeNaN();
      expect(similarityOf(map(1, 3, [1, NaN, 1]), map(1, 3, [1, 2, 3]), by)).toBeNaN();
    }
  });

  it.skipIf(python === null)('is what NumPy computes in float64 of maps with equal pixels', () => {
    const uniform = uniformNumbers(3);
    const [height, width] = [23, 17];
    // Steps of 1/8, so that float32 holds them and many are equal.
    const draw = () => Array.from({ length: height * width }, () => Math.floor(uniform() * 40 - 20) / 8);
    const [a, b] = [draw(), draw()];
    const mixed = b.map((value, i) => value + 2 * a[i]!);
    const script = `
import json, sys
import numpy as np
a, b = (np.array(each, dtype=np.float64) for each in json.load(sys.stdin))
def ranks(x):
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
def ssim(x, y):
    x, y = ((z - z.min()) / (z.max() - z.min()) for z in (x, y))
    windows = lambda z: np.lib.stride_tricks.sliding_window_view(z, (7, 7)).reshape(-1, 49)
    figures = []
    for p, q in zip(windows(x), windows(y)):
        c = np.cov(p, q)
        figures.append((2 * p.mean() * q.mean() + 1e-4) * (2 * c[0, 1] + 9e-4)
            / ((p.mean() ** 2 + q.mean() ** 2 + 1e-4) * (c[0, 0] + c[1, 1] + 9e-4)))
    return np.mean(figures)
shape = (${height}, ${width})
print(json.dumps({
    "spearman": np.corrcoef(ranks(a), ranks(b))[0, 1],
    "absolute-spearman": np.corrcoef(ranks(abs(a)), ranks(abs(b)))[0, 1],
    "pearson": np.corrcoef(a, b)[0, 1],
    "ssim": ssim(a.reshape(shape), b.reshape(shape)),
}))`;
    const expected = JSON.parse(
      execFileSync(python!, ['-c', script], { input: JSON.stringify([a, mixed]), encoding: 'utf8' }),
    ) as Record<'spearman' | 'absolute-spearman' | 'pearson' | 'ssim', number>;
    for (const by of ['spearman', 'absolute-spearman', 'pearson', 'ssim'] as const) {
      // Both in float64: sums of 391 numbers.
      expect(similarityOf(map(height, width, a), map(height, width, mixed), by)).toBeCloseTo(expected[by], 11);
    }
  });
});
