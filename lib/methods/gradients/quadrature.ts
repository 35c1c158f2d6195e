/** Rules for an integral over [0, 1]. */
export const QUADRATURES = ['gauss-legendre', 'trapezoid', 'left', 'right', 'middle'] as const;
export type Quadrature = (typeof QUADRATURES)[number];

export interface QuadratureRule {
  /** Where the integrand is evaluated, ascending. */
  readonly points: readonly number[];
  readonly weights: readonly number[];
}

/** A rule's weights, or what a package has in their place. */
export type WeightsOf = (rule: QuadratureRule, quadrature: Quadrature) => readonly number[];

/** The fewest points of each rule: a trapezoid has two ends. */
export const leastPoints = (rule: Quadrature): number => (rule === 'trapezoid' ? 2 : 1);

/**
 * The most points of each rule. Those of Gauss-Legendre take time that grows with the square of their number: 4096 take
 * 0.1 s.
 */
export const mostPoints = (rule: Quadrature): number => (rule === 'gauss-legendre' ? 4096 : 100_000);

/** The rule with `count` points. The weights sum to 1. */
export function quadrature(rule: Quadrature, count: number): QuadratureRule {
  if (rule === 'gauss-legendre') return gaussLegendre(count);
  const numbers = Array.from({ length: count }, (_, i) => i);
  if (rule === 'trapezoid') {
    return {
      points: numbers.map((i) => i / (count - 1)),
      weights: numbers.map((i) => (i === 0 || i === count - 1 ? 0.5 : 1) / (count - 1)),
    };
  }
  const offset = { left: 0, middle: 0.5, right: 1 }[rule];
  return { points: numbers.map((i) => (i + offset) / count), weights: numbers.map(() => 1 / count) };
}

/**
 * Exact for polynomials up to degree 2 count - 1. The points are the roots of a Legendre polynomial, found by Newton.
 */
function gaussLegendre(count: number): QuadratureRule {
  const points = new Array<number>(count);
  const weights = new Array<number>(count);
  // The roots lie symmetrically about 0: half of them tell the rest.
  for (let i = 0; i < count / 2; i++) {
    let x = Math.cos((Math.PI * (i + 0.75)) / (count + 0.5)) * (1 - (count - 1) / (8 * count ** 3));
    for (let round = 0; round < 10; round++) {
      const { value, derivative } = legendre(count, x);
      const change = value / derivative;
      x -= change;
      // Newton doubles the digits each time: the next round could change nothing.
      if (Math.abs(change) < 1e-10) break;
    }
    if (2 * i + 1 === count) x = 0;
    const { derivative: slope } = legendre(count, x);
    const weight = 1 / ((1 - x * x) * slope * slope);
    points[i] = (1 - x) / 2;
    points[count - 1 - i] = (1 + x) / 2;
    weights[i] = weights[count - 1 - i] = weight;
  }
  return { points, weights };
}

/** The Legendre polynomial of a degree and its derivative, by the three-term recurrence. */
function legendre(degree: number, x: number): { value: number; derivative: number } {
  let before = 1;
  let value = x;
  for (let n = 2; n <= degree; n++) [before, value] = [value, ((2 * n - 1) * x * value - (n - 1) * before) / n];
  return { value, derivative: (degree * (x * value - before)) / (x * x - 1) };
}
