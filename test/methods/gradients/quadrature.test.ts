import { describe, expect, it } from 'vitest';

import { quadrature, QUADRATURES } from '../../../lib/methods/gradients/quadrature.js';

const integral = (rule: ReturnType<typeof quadrature>, f: (x: number) => number): number =>
  rule.points.reduce((sum, x, i) => sum + rule.weights[i]! * f(x), 0);

describe('quadrature over [0, 1]', () => {
  it.each(QUADRATURES)('%s: weights sum to 1, points ascend', (name) => {
    for (const count of [2, 3, 50]) {
      const { points, weights } = quadrature(name, count);
      expect(points).toHaveLength(count);
      expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 12);
      for (let i = 1; i < count; i++) expect(points[i]!).toBeGreaterThan(points[i - 1]!);
      expect(points[0]!).toBeGreaterThanOrEqual(0);
      expect(points.at(-1)!).toBeLessThanOrEqual(1);
    }
  });

  it('Gauss-Legendre has the published points of two and three', () => {
    const two = quadrature('gauss-legendre', 2);
    expect(two.points[0]).toBeCloseTo((1 - 1 / Math.sqrt(3)) / 2, 14);
    expect(two.weights).toEqual([expect.closeTo(0.5, 14), expect.closeTo(0.5, 14)]);
    const three = quadrature('gauss-legendre', 3);
    expect(three.points).toEqual([
      expect.closeTo((1 - Math.sqrt(0.6)) / 2, 14),
      expect.closeTo(0.5, 14),
      expect.closeTo((1 + Math.sqrt(0.6)) / 2, 14),
    ]);
    expect(three.weights).toEqual([expect.closeTo(5 / 18, 14), expect.closeTo(8 / 18, 14), expect.closeTo(5 / 18, 14)]);
  });

  it.each([1, 2, 5, 16, 50, 200])(
    'Gauss-Legendre of %i points is exact up to degree 2 n - 1, and not beyond',
    (count) => {
      const rule = quadrature('gauss-legendre', count);
      for (const degree of [0, 1, count, 2 * count - 1]) {
        expect(integral(rule, (x) => x ** degree)).toBeCloseTo(1 / (degree + 1), 12);
      }
      if (count <= 5) {
        expect(Math.abs(integral(rule, (x) => x ** (2 * count)) - 1 / (2 * count + 1))).toBeGreaterThan(1e-6);
      }
    },
  );

  it('the others take the sums that their names say', () => {
    expect(quadrature('left', 4).points).toEqual([0, 0.25, 0.5, 0.75]);
    expect(quadrature('right', 4).points).toEqual([0.25, 0.5, 0.75, 1]);
    expect(quadrature('middle', 4).points).toEqual([0.125, 0.375, 0.625, 0.875]);
    expect(quadrature('trapezoid', 3)).toEqual({ points: [0, 0.5, 1], weights: [0.25, 0.5, 0.25] });
  });
});
