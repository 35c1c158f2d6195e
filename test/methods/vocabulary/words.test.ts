/** Each word of the vocabulary that methods are written in: its values, its gradients, batches, and what it refuses. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { defineMethod, symbolic, type Model } from '../../../lib/index.js';
import { expectWithin } from '../../support/rounding.js';
import { loadNet, NET } from '../gradients/support.js';

type Value = symbolic.Value;

const {
  abs,
  accumulate,
  concatenate,
  constant,
  contract,
  diagonal,
  div,
  equal,
  expandLike,
  fullLike,
  grad,
  greater,
  greaterEqual,
  less,
  lessEqual,
  maximum,
  mean,
  minimum,
  mul,
  narrow,
  noise,
  not,
  oneHot,
  pick,
  quotient,
  remainder,
  rename,
  select,
  sub,
  sum,
  transpose,
  unravel,
  variable,
  where,
} = symbolic;
const { height, width } = NET;
const AREA = height * width;
const BATCH = 3;

/** Three numbers at each place: whole and half ones with zeros, signs and ties; what is divided by is never 0. */
const a = (i: number): number => ((i * 5) % 7) - 3;
const b = (i: number): number => ((i * 3) % 11) - 5 + 0.5;
const c = (i: number): number => (i % 4) - 1;
/** Image n holds them from another place on. */
const image = {
  data: Float32Array.from({ length: BATCH * 3 * AREA }, (_, i) =>
    [a, b, c][Math.floor(i / AREA) % 3]!((i % AREA) + 5 * Math.floor(i / (3 * AREA))),
  ),
  shape: [BATCH, 3, height, width],
};
const at = (n: number, channel: number, y: number, x: number): number =>
  image.data[((n * 3 + channel) * height + y) * width + x]!;

interface Seen {
  readonly a: Value;
  readonly b: Value;
  readonly c: Value;
  readonly image: Value;
}

let model: Model;
beforeAll(async () => {
  model = await loadNet('linear');
});
afterAll(() => model.close());

const methodOf = (formula: (seen: Seen) => Value) =>
  defineMethod({
    name: 'test-words',
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific: false,
    reasonAgainst: () => null,
    map: ({ model: { image: pixels } }) => {
      const [first, second, third] = [0, 1, 2].map((channel) => select(pixels, 'channels', channel)) as [
        Value,
        Value,
        Value,
      ];
      return formula({ a: first, b: second, c: third, image: pixels });
    },
  });

/**
 * The formula's maps [batch, height, width] of the three images in one batch, which are those of each by itself to the
 * bit.
 */
async function compute(formula: (seen: Seen) => Value): Promise<number[][]> {
  const method = methodOf(formula);
  const request = { method, size: 'grid', raw: true } as const;
  const maps = (await model.explain(image, request)).map(({ maps: [map] }) => [...map!.data]);
  for (let n = 0; n < BATCH; n++) {
    const single = { data: image.data.slice(n * 3 * AREA, (n + 1) * 3 * AREA), shape: [1, 3, height, width] };
    const [alone] = await model.explain(single, request);
    expect([...alone!.maps[0]!.data]).toEqual(maps[n]);
  }
  return maps;
}

/** All values of three images as the formula should have them; -0 counts as 0. */
function everywhere(value: (n: number, y: number, x: number) => number): number[][] {
  return Array.from({ length: BATCH }, (_, n) =>
    Array.from({ length: AREA }, (__, i) => Math.fround(value(n, Math.floor(i / width), i % width)) + 0),
  );
}

const plain = (maps: number[][]): number[][] => maps.map((map) => map.map((value) => value + 0));

type Place = (a: number, b: number, c: number) => number;

const WORDS: readonly (readonly [name: string, formula: (seen: Seen) => Value, place: Place])[] = [
  ['not', ({ a }) => not(a), (a) => (a === 0 ? 1 : 0)],
  ['where of three values', ({ a, b, c }) => where(c, a, b), (a, b, c) => (c !== 0 ? a : b)],
  ['where of a number and a value', ({ b, c }) => where(c, 0.25, b), (_, b, c) => (c !== 0 ? 0.25 : b)],
  ['where of a value and a number', ({ b, c }) => where(c, b, 0.25), (_, b, c) => (c !== 0 ? b : 0.25)],
  ['where of two numbers', ({ c }) => where(c, Infinity, -2), (_, __, c) => (c !== 0 ? Infinity : -2)],
  ['fullLike', ({ a }) => fullLike(a, 2.5), () => 2.5],
  ['a number plus a value', ({ a }) => symbolic.add(1.5, a), (a) => 1.5 + a],
  ['a number minus a value', ({ a }) => sub(2, a), (a) => 2 - a],
  ['a value minus a number', ({ a }) => a.sub(2), (a) => a - 2],
  ['a number times a value', ({ b }) => mul(3, b), (_, b) => 3 * b],
  ['a number by a value', ({ b }) => div(6, b), (_, b) => 6 / b],
  ['the larger of a value and a number', ({ a }) => maximum(a, 0.5), (a) => Math.max(a, 0.5)],
  ['the larger of a number and a value', ({ a }) => maximum(0.5, a), (a) => Math.max(a, 0.5)],
  ['the larger of two values', ({ a, b }) => maximum(a, b), (a, b) => Math.max(a, b)],
  ['the smaller of a value and a number', ({ a }) => minimum(a, 0.5), (a) => Math.min(a, 0.5)],
  ['the smaller of a number and a value', ({ a }) => minimum(0.5, a), (a) => Math.min(a, 0.5)],
  ['equal to a number', ({ a }) => equal(a, 1), (a) => (a === 1 ? 1 : 0)],
  ['a number equal to', ({ a }) => equal(1, a), (a) => (a === 1 ? 1 : 0)],
  ['equal values', ({ a, c }) => equal(a, c), (a, _, c) => (a === c ? 1 : 0)],
  ['greater than a number', ({ a }) => greater(a, 1), (a) => (a > 1 ? 1 : 0)],
  ['a number greater than', ({ a }) => greater(1, a), (a) => (1 > a ? 1 : 0)],
  ['greater or equal, values', ({ a, c }) => greaterEqual(a, c), (a, _, c) => (a >= c ? 1 : 0)],
  ['greater or equal, a number', ({ a }) => greaterEqual(a, 1), (a) => (a >= 1 ? 1 : 0)],
  ['less, values', ({ a, c }) => less(a, c), (a, _, c) => (a < c ? 1 : 0)],
  ['less than a number', ({ a }) => less(a, 1), (a) => (a < 1 ? 1 : 0)],
  ['less or equal, values', ({ a, c }) => lessEqual(a, c), (a, _, c) => (a <= c ? 1 : 0)],
  ['less or equal, a number', ({ a }) => lessEqual(1, a), (a) => (1 <= a ? 1 : 0)],
  ['a quotient of whole numbers', ({ a }) => quotient(a, 2), (a) => Math.floor(a / 2)],
  ['a remainder', ({ a }) => remainder(a, 2), (a) => ((a % 2) + 2) % 2],
];

describe('place by place', () => {
  it.each(WORDS)('%s', async (_, formula, place) => {
    const expected = everywhere((n, y, x) => place(at(n, 0, y, x), at(n, 1, y, x), at(n, 2, y, x)));
    expect(plain(await compute(formula))).toEqual(expected);
    // The numbers tell right from wrong.
    expect(new Set(expected.flat()).size).toBeGreaterThan(_ === 'fullLike' ? 0 : 1);
  });

  it('nothing is true of NaN but what is not so', async () => {
    // a / a is NaN where a is 0, and else 1.
    const isNaN = (place: number): boolean => place === 0;
    const found = await compute(({ a }) => {
      const x = div(a, a);
      return [less(x, 2), greaterEqual(x, 0), equal(x, x), not(lessEqual(x, 5))]
        .map((value, i) => value.mul(10 ** i))
        .reduce((total, next) => total.add(next));
    });
    expect(found).toEqual(everywhere((n, y, x) => (isNaN(at(n, 0, y, x)) ? 1000 : 111)));
  });

  it('where takes nothing of what it does not choose: no NaN, no infinity', async () => {
    expect(await compute(({ a }) => where(equal(a, 0), -1, div(6, a)))).toEqual(
      everywhere((n, y, x) => (at(n, 0, y, x) === 0 ? -1 : 6 / at(n, 0, y, x))),
    );
  });
});

describe('over axes', () => {
  it('where, comparisons and arithmetic broadcast by axis name', async () => {
    const found = await compute(({ a, b }) => where(greater(mean(a, 'width'), 0), a, select(b, 'height', 1)));
    const rowMean = (n: number, y: number): number =>
      Array.from({ length: width }, (_, x) => at(n, 0, y, x)).reduce((total, value) => total + value) / width;
    expect(found).toEqual(everywhere((n, y, x) => (rowMean(n, y) > 1e-6 ? at(n, 0, y, x) : at(n, 1, 1, x))));
  });

  it('expandLike repeats along the axes that are lacking', async () => {
    expect(await compute(({ a, b }) => expandLike(select(b, 'height', 2), a))).toEqual(
      everywhere((n, _, x) => at(n, 1, 2, x)),
    );
    expect(await compute(({ a }) => expandLike(constant(a, Float32Array.of(3, 1, 4, 2), { height }), a))).toEqual(
      everywhere((_, y) => [3, 1, 4, 2][y]!),
    );
  });

  it('diagonal takes equal places of two axes', async () => {
    expect(
      await compute(({ a, b }) => expandLike(diagonal(narrow(b, 'width', 1, height), 'height', 'width'), a)),
    ).toEqual(everywhere((n, y) => at(n, 1, y, y + 1)));
    expect(
      await compute(({ a, b }) =>
        expandLike(rename(diagonal(narrow(b, 'width', 0, height), 'width', 'height'), 'width', 'height'), a),
      ),
    ).toEqual(everywhere((n, y) => at(n, 1, y, y)));
  });

  it('oneHot is 1 at the place that is numbered, and nowhere for a number of none', async () => {
    // The first value of c is a whole number from -1 to 2.
    const first = (n: number): number => at(n, 2, 0, 0);
    expect(new Set([0, 1, 2].map(first)).size).toBeGreaterThan(1);
    expect(
      await compute(({ a, c }) => expandLike(oneHot(select(select(c, 'height', 0), 'width', 0), 'width', width), a)),
    ).toEqual(everywhere((n, _, x) => (x === first(n) ? 1 : 0)));
  });

  it('pick takes each image’s own place of any axis', async () => {
    const own = ({ c }: Seen): Value => abs(select(select(c, 'height', 0), 'width', 0));
    const index = (n: number): number => Math.abs(at(n, 2, 0, 0));
    expect(await compute((seen) => pick(seen.image, own(seen), 'channels'))).toEqual(
      everywhere((n, y, x) => at(n, index(n), y, x)),
    );
    expect(
      await compute((seen) => expandLike(select(pick(seen.image, own(seen), 'height'), 'channels', 1), seen.a)),
    ).toEqual(everywhere((n, _, x) => at(n, 1, index(n), x)));
    expect(await compute((seen) => expandLike(pick(seen.b, own(seen), 'width'), seen.a))).toEqual(
      everywhere((n, y) => at(n, 1, y, index(n))),
    );
  });
});

describe('ranks', () => {
  /** From the largest down: how many are larger, and how many of the equal ones come first. */
  const larger = (n: number, own: number): number =>
    Array.from({ length: AREA }, (_, i) => at(n, 0, Math.floor(i / width), i % width)).filter((each) => each > own)
      .length;
  const equals = (n: number, own: number): number[] =>
    Array.from({ length: AREA }, (_, i) => i).filter((i) => at(n, 0, Math.floor(i / width), i % width) === own);

  it('numbers equal places in their order', async () => {
    const maps = await compute(({ a }) => symbolic.ranks(a));
    expect(maps).toEqual(
      everywhere((n, y, x) => {
        const own = at(n, 0, y, x);
        return larger(n, own) + equals(n, own).indexOf(y * width + x);
      }),
    );
    // A whole numbering, each number once.
    expect(maps[0]!.toSorted((p, q) => p - q)).toEqual(Array.from({ length: AREA }, (_, i) => i));
  });

  it('or gives them the mean of their numbers', async () => {
    expect(await compute(({ a }) => symbolic.ranks(a, { ties: 'mean' }))).toEqual(
      everywhere((n, y, x) => {
        const own = at(n, 0, y, x);
        return larger(n, own) + (equals(n, own).length - 1) / 2;
      }),
    );
  });
});

describe('impute', () => {
  it('gives removed pixels the weighted mean of their neighbors, and leaves the others', async () => {
    const removed = (n: number, y: number, x: number): boolean => at(n, 2, y, x) > 0;
    const maps = await compute(({ image, c }) => select(symbolic.impute(image, greater(c, 0)), 'channels', 1));
    for (const [n, map] of maps.entries()) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const own = map[y * width + x]!;
          if (!removed(n, y, x)) {
            expect(own).toBe(at(n, 1, y, x));
            continue;
          }
          let [total, weights] = [0, 0];
          for (const [down, across] of [-1, 0, 1].flatMap((p) => [-1, 0, 1].map((q) => [p, q] as const))) {
            const [row, column] = [y + down, x + across];
            if ((down === 0 && across === 0) || row < 0 || column < 0 || row >= height || column >= width) continue;
            const weight = down === 0 || across === 0 ? 1 / 6 : 1 / 12;
            total += weight * map[row * width + column]!;
            weights += weight;
          }
          // A residual of 1e-6 of the right side, of values of at most 5.5.
          expect(Math.abs(own - total / weights)).toBeLessThan(1e-4);
        }
      }
    }
  });
});

describe('contract', () => {
  const dot = (length: number, term: (k: number) => number): number =>
    Array.from({ length }, (_, k) => term(k)).reduce((total, value) => total + value, 0);
  const table = (rows: number, columns: number): Float32Array =>
    Float32Array.from({ length: rows * columns }, (_, i) => ((i * 7) % 5) - 2);

  /** Sums of products of halves are exact in float32, in whatever order. */
  const CASES: readonly (readonly [
    name: string,
    formula: (seen: Seen) => Value,
    value: (n: number, y: number, x: number) => number,
  ])[] = [
    [
      'two matrices of each image',
      ({ a, b }) => padded(contract(a, rename(b, 'height', 'j'), 'width'), a),
      (n, y, x) => (x < height ? dot(width, (k) => at(n, 0, y, k) * at(n, 1, x, k)) : 0),
    ],
    [
      'a row by a matrix',
      ({ a, b }) => expandLike(contract(select(a, 'width', 2), b, 'height'), a),
      (n, _, x) => dot(height, (k) => at(n, 0, k, 2) * at(n, 1, k, x)),
    ],
    [
      'a matrix by a column',
      ({ a, b }) => expandLike(contract(b, select(a, 'height', 3), 'width'), a),
      (n, y) => dot(width, (k) => at(n, 1, y, k) * at(n, 0, 3, k)),
    ],
    [
      'two vectors',
      ({ a, b }) => expandLike(contract(select(a, 'height', 0), select(b, 'height', 1), 'width'), a),
      (n) => dot(width, (k) => at(n, 0, 0, k) * at(n, 1, 1, k)),
    ],
    [
      'by a matrix that all images share',
      ({ a }) =>
        rename(contract(a, constant(a, table(width, width), { width, into: width }), 'width'), 'into', 'width'),
      (n, y, x) => dot(width, (k) => at(n, 0, y, k) * table(width, width)[k * width + x]!),
    ],
    [
      'matched along a further axis, whatever the order of axes',
      ({ image: pixels }) => {
        const left = transpose(pixels, ['width', 'channels', 'batch', 'height']);
        const right = constant(pixels, table(3 * width, width), { channels: 3, width, into: width });
        return rename(select(contract(left, right, 'width'), 'channels', 1), 'into', 'width');
      },
      (n, y, x) => dot(width, (k) => at(n, 1, y, k) * table(3 * width, width)[(width + k) * width + x]!),
    ],
    [
      'with several axes of one operand alone',
      ({ image: pixels }) => {
        const product = contract(
          pixels,
          constant(pixels, table(2 * width, width), { copies: 2, width, into: width }),
          'width',
        );
        return rename(
          select(
            select(transpose(product, ['batch', 'copies', 'channels', 'height', 'into']), 'copies', 1),
            'channels',
            2,
          ),
          'into',
          'width',
        );
      },
      (n, y, x) => dot(width, (k) => at(n, 2, y, k) * table(2 * width, width)[(width + k) * width + x]!),
    ],
  ];

  it.each(CASES)('%s', async (_, formula, value) => {
    expect(plain(await compute(formula))).toEqual(everywhere(value));
  });

  /** [batch, height, j] of `height` columns with zeros up to `width`. */
  function padded(product: Value, like: Value): Value {
    const eye = constant(
      like,
      Float32Array.from({ length: height * width }, (_, i) => (Math.floor(i / width) === i % width ? 1 : 0)),
      { j: height, width },
    );
    return contract(product, eye, 'j');
  }
});

describe('samples', () => {
  it('are numbered as loops within loops', async () => {
    const found = await compute(({ a }) => {
      const numbers = concatenate(a, 24, (sample) => {
        const { outer, middle, inner } = unravel(sample, { outer: 2, middle: 3, inner: 4 });
        return outer.mul(100).add(middle.mul(10)).add(inner);
      });
      return symbolic.split(numbers, 'sample', { height, width });
    });
    const expected = Array.from(
      { length: 24 },
      (_, i) => 100 * Math.floor(i / 12) + 10 * (Math.floor(i / 4) % 3) + (i % 4),
    );
    expect(found).toEqual(everywhere((_, y, x) => expected[y * width + x]!));
  });

  it('divide exactly as far as float32 counts, where a quotient of floats would not', async () => {
    // In float32, 2^24 - 1 + 0.5 is 2^24, which 4096 divides.
    const most = 2 ** 24 - 1;
    expect(await compute(({ a }) => symbolic.floor(fullLike(a, most).add(0.5).div(4096)))).toEqual(
      everywhere(() => 4096),
    );
    expect(await compute(({ a }) => quotient(fullLike(a, most), 4096))).toEqual(everywhere(() => 4095));
    expect(await compute(({ a }) => remainder(fullLike(a, most), 4096))).toEqual(everywhere(() => 4095));
  });

  it('give several sums by name', async () => {
    const found = await compute(({ a, b }) => {
      const { weighted, counted } = accumulate(a, 5, (sample) => ({
        weighted: b.mul(sample),
        counted: fullLike(a, 1),
      }));
      return weighted.mul(counted);
    });
    // (0 + 1 + 2 + 3 + 4) b, times 5.
    expect(plain(found)).toEqual(everywhere((n, y, x) => 50 * at(n, 1, y, x)));
  });

  it('are laid out by name', async () => {
    const found = await compute(({ a }) => {
      const { once, twice } = concatenate(a, 2, (sample) => ({ once: a.add(sample), twice: a.mul(sample) }));
      return select(once, 'sample', 1)
        .mul(10)
        .add(select(twice, 'sample', 1));
    });
    expect(plain(found)).toEqual(everywhere((n, y, x) => 10 * (at(n, 0, y, x) + 1) + at(n, 0, y, x)));
  });

  it.each(['normal', 'uniform'] as const)(
    'draw the same %s noise by the value’s shape, by sizes, and by a number',
    async (distribution) => {
      const differences = await compute(({ a }) =>
        accumulate(a, 4, (sample) => {
          const byShape = noise(a, sample, 7, distribution);
          const isThird = equal(sample, 2);
          return abs(byShape.sub(noise({ height, width }, sample, 7, distribution))).add(
            where(isThird, abs(byShape.sub(noise(a, 2, 7, distribution))), 0),
          );
        }),
      );
      expect(differences).toEqual(everywhere(() => 0));
      const drawn = await compute(({ a }) => noise(a, 2, 7, distribution));
      expect(drawn[0]).toEqual(drawn[1]);
      expect(new Set(drawn[0]).size).toBe(AREA);
      expect(await compute(({ a }) => noise(a, 3, 7, distribution))).not.toEqual(drawn);
    },
  );
});

describe('gradients', () => {
  /** The gradient of sum(f(x)) with respect to x, which starts at a; f may read b and c. */
  const gradientOf = (f: (x: Value, seen: Seen) => Value): Promise<number[][]> =>
    compute((seen) => {
      const x = variable(seen.a);
      const value = f(x, seen);
      return grad(
        sum(
          value,
          value.axes.filter((axis) => axis !== 'batch'),
        ),
        x,
      );
    });

  const GRADIENTS: readonly (readonly [
    name: string,
    f: (x: Value, seen: Seen) => Value,
    gradient: (n: number, y: number, x: number) => number,
  ])[] = [
    ['where', (x, { b, c }) => where(c, x.mul(3), x.mul(b)), (n, y, x) => (at(n, 2, y, x) !== 0 ? 3 : at(n, 1, y, x))],
    ['where of a value and a number', (x, { c }) => where(c, x.mul(3), 7), (n, y, x) => (at(n, 2, y, x) !== 0 ? 3 : 0)],
    ['a number minus a value', (x, { b }) => sub(2, x).mul(b), (n, y, x) => -at(n, 1, y, x)],
    ['a number by a value', (x) => div(6, x.add(8)), (n, y, x) => -6 / (at(n, 0, y, x) + 8) ** 2],
    ['maximum with a number', (x) => maximum(x, 0.5).mul(3), (n, y, x) => (at(n, 0, y, x) > 0.5 ? 3 : 0)],
    ['minimum with a number', (x) => minimum(0.5, x).mul(3), (n, y, x) => (at(n, 0, y, x) < 0.5 ? 3 : 0)],
    [
      'conditions, which have none',
      (x) => x.mul(greater(x, 0)).mul(not(equal(x, 2))),
      (n, y, x) => (at(n, 0, y, x) > 0 && at(n, 0, y, x) !== 2 ? 1 : 0),
    ],
    [
      'expandLike, of the value alone',
      (x, { b }) => expandLike(select(x, 'height', 1), x).mul(b),
      (n, y, x) =>
        y === 1
          ? Array.from({ length: height }, (_, row) => at(n, 1, row, x)).reduce((total, value) => total + value)
          : 0,
    ],
    ['fullLike, which has none', (x) => fullLike(x, 3).mul(x), () => 3],
    [
      'diagonal',
      (x, { b }) =>
        diagonal(narrow(x, 'width', 0, height), 'height', 'width').mul(
          diagonal(narrow(b, 'width', 0, height), 'height', 'width'),
        ),
      (n, y, x) => (x === y ? at(n, 1, y, y) : 0),
    ],
    [
      'pick',
      (x, { c, b }) => pick(x, abs(select(select(c, 'height', 0), 'width', 0)), 'height').mul(select(b, 'height', 0)),
      (n, y, x) => (y === Math.abs(at(n, 2, 0, 0)) ? at(n, 1, 0, x) : 0),
    ],
    [
      'contract',
      (x, { b }) => contract(x, rename(b, 'height', 'j'), 'width'),
      (n, _, x) => Array.from({ length: height }, (__, j) => at(n, 1, j, x)).reduce((total, value) => total + value),
    ],
    [
      'contract of a row',
      (x, { b }) => contract(select(x, 'height', 1), rename(b, 'height', 'j'), 'width'),
      (n, y, x) =>
        y === 1 ? Array.from({ length: height }, (__, j) => at(n, 1, j, x)).reduce((total, value) => total + value) : 0,
    ],
  ];

  it.each(GRADIENTS)('%s', async (_, f, gradient) => {
    const found = await gradientOf(f);
    found.forEach((map, n) =>
      // Halves and their sums round nothing; the one division does, three times.
      expectWithin(
        map,
        Array.from(map, (_, i) => gradient(n, Math.floor(i / width), i % width)),
        3,
        (i) => Math.abs(gradient(n, Math.floor(i / width), i % width)),
      ),
    );
  });
});

describe('refusals name the method and the line of its code', () => {
  const refused = async (formula: (seen: Seen) => Value): Promise<{ code: string; message: string }> =>
    model.explain(image, { method: methodOf(formula) }).then(
      () => expect.fail('it was not refused'),
      (reason: unknown) => reason as { code: string; message: string },
    );
  const HERE = /words\.test\.ts:\d+:\d+\)/;

  it.each([
    [
      'expandLike to axes that lack one',
      (seen: Seen) => expandLike(rename(seen.a, 'width', 'columns'), seen.a),
      /expands \[batch, height, columns\] to \[batch, height, width\], which has no axis "columns"/,
    ],
    [
      'contract over an axis that one lacks',
      (seen: Seen) => contract(seen.a, rename(seen.b, 'width', 'columns'), 'width'),
      /contracts .* over "width", which \[batch, height, columns\] lacks/,
    ],
    [
      'diagonal of an axis that is not there',
      (seen: Seen) => diagonal(seen.a, 'height', 'keys'),
      /names the axis "keys" of a value that has batch, height, width/,
    ],
    ['pick along the batch', (seen: Seen) => pick(seen.a, symbolic.lowest(seen.a), 'batch'), /picks along "batch"/],
    [
      'quotient by 0',
      (seen: Seen) => quotient(seen.a, 0),
      /takes the quotient of a number by 0; it must be a whole number from 1/,
    ],
    ['remainder by a fraction', (seen: Seen) => remainder(seen.a, 1.5), /takes the remainder of a number by 1\.5/],
    [
      'a loop without a value',
      (seen: Seen) => accumulate(seen.a, 2, () => ({}))['x' as never],
      /returns no value per image, with "batch" first, from the body of accumulate/,
    ],
  ])('%s', async (_, formula, message) => {
    const error = await refused(formula);
    expect(error).toMatchObject({ code: 'INVALID_OPTION', message: expect.stringMatching(/^test-words /) });
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(HERE);
  });

  it.each([
    ['where', (seen: Seen) => where(seen.c, narrow(seen.a, 'width', 0, 3), seen.b)],
    ['greater_equal', (seen: Seen) => greaterEqual(narrow(seen.a, 'width', 0, 3), seen.b)],
    ['expand_like', (seen: Seen) => expandLike(narrow(seen.a, 'width', 0, 3), seen.b)],
    [
      'matmul',
      (seen: Seen) =>
        rename(contract(seen.a, rename(narrow(seen.b, 'width', 0, 3), 'height', 'j'), 'width'), 'j', 'width'),
    ],
    ['pick', (seen: Seen) => expandLike(pick(seen.a, fullLike(symbolic.lowest(seen.a), 99), 'height'), seen.b)],
  ] as const)('%s of values that do not fit, when it runs', async (op, formula) => {
    const error = await refused(formula);
    expect(error.code).toBe('STEP_FAILED');
    expect(error.message).toMatch(new RegExp(`^test-words failed in '${op}' \\(.*words\\.test\\.ts:\\d+:\\d+\\): `));
  });

  it('two numbers are no symbolic values', async () => {
    for (const word of [symbolic.add, sub, mul, div, maximum, equal]) {
      expect((await refused(() => word(1, 2))).message).toMatch(
        /takes at least one value, and got the numbers 1 and 2/,
      );
    }
  });
});
