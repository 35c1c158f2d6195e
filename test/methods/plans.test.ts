import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { defineMethod, stats, symbolic, type Method, type Model } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

const { abs, grad, mean } = symbolic;
const SIZE = [32, 48] as const;

/** A method that counts how often it is recorded. */
function counting(): {
  readonly method: Method<z.ZodObject<{ factor: z.ZodDefault<z.ZodNumber> }>>;
  readonly records: () => number;
} {
  let records = 0;
  const method = defineMethod({
    name: 'counting',
    options: z.strictObject({ factor: z.number().default(1) }),
    usesLayer: false,
    isClassSpecific: true,
    reasonAgainst: () => null,
    map: ({ model, options }) => {
      records++;
      return mean(abs(grad(model.output.score, model.output.image)), 'channels').mul(options.factor);
    },
  });
  return { method, records: () => records };
}

describe('plans of a method of the user', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());

  it('are recorded once for all images of a call, which make whole batches', async () => {
    const { method, records } = counting();
    const { batches } = stats();
    expect(await model.explain(randomTensor(24, ...SIZE), { method })).toHaveLength(24);
    expect(records()).toBe(1);
    // Eight images each.
    expect(stats().batches - batches).toBe(3);
  });

  it('are kept by the method object, its options and the size, and no other', async () => {
    const { method, records } = counting();
    const image = randomTensor(1, ...SIZE);
    const [once] = await model.explain(image, { method, raw: true });
    await model.explain(image, { method, raw: true });
    expect(records()).toBe(1);
    const twice = async (seed = 0): Promise<Float32Array> =>
      (await model.explain(nudged(image, seed), { method, raw: true, options: { factor: 2 } }))[0]!.maps[0]!.data;
    const doubled = once!.maps[0]!.data.map((value) => 2 * value);
    await expectRounded(await twice(), doubled, 'twice', { model, again: twice });
    expect(records()).toBe(2);
    await model.explain(randomTensor(1, 32, 32), { method, raw: true });
    expect(records()).toBe(3);
    const other = counting();
    await model.explain(image, { method: other.method, raw: true });
    expect(other.records()).toBe(1);
  });

  it('keep scores apart by the function', async () => {
    const image = randomTensor(1, ...SIZE);
    const score = (index: number) => (run: { logits: symbolic.Value }) => symbolic.select(run.logits, 'classes', index);
    const map = async (of: ReturnType<typeof score>): Promise<Float32Array> =>
      (await model.explain(image, { method: 'gradient', raw: true, score: of }))[0]!.maps[0]!.data;
    const [first, second] = [score(1), score(2)];
    const maps = [await map(first), await map(second), await map(first)];
    expect(maps[0]).toEqual(maps[2]);
    expect(maps[0]).not.toEqual(maps[1]);
  });

  it('are let go last used first: a plan in use outlives hundreds of others', async () => {
    const image = randomTensor(1, ...SIZE);
    const hot = counting();
    const cold = counting();
    await model.explain(image, { method: cold.method });
    for (let i = 0; i < 280; i++) {
      if (i % 40 === 0) await model.explain(image, { method: hot.method });
      await model.explain(image, { method: 'random-cam', seed: i });
    }
    await model.explain(image, { method: hot.method });
    expect(hot.records()).toBe(1);
    await model.explain(image, { method: cold.method });
    expect(cold.records()).toBe(2);
  });

  it('tell settings apart that JSON does not', async () => {
    const image = randomTensor(1, ...SIZE);
    const seen: unknown[] = [];
    const method = defineMethod({
      name: 'any-options',
      options: z.looseObject({}),
      usesLayer: false,
      isClassSpecific: true,
      reasonAgainst: () => null,
      map: ({ model: of, options }) => {
        seen.push(Object.values(options)[0]);
        return mean(of.image, 'channels');
      },
    });
    const given = [Infinity, null, NaN, 0, -0, '0', 0n, new Float32Array([1, 2]), new Float32Array([1, 3])];
    for (const value of [...given, ...given]) await model.explain(image, { method, options: { value } });
    expect(seen).toEqual(given);
  });
});

describe('code of the user that fails', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());
  const image = randomTensor(1, ...SIZE);

  it.each([
    [
      'a score',
      { method: 'gradient', score: () => (undefined as unknown as { x: symbolic.Value }).x },
      /^The `score` function given to gradient failed: Cannot read properties of undefined/,
    ],
    [
      'a map',
      { method: { ...counting().method, map: () => JSON.parse('{') as symbolic.Value } },
      /^The map function of counting failed: /,
    ],
    [
      'a map that is none',
      { method: { ...counting().method, map: () => 7 as unknown as symbolic.Value } },
      /counting must return a map, or \{ map \}, and not 7/,
    ],
  ] as const)('%s is INVALID_OPTION in one sentence', async (_, options, message) => {
    await expect(model.explain(image, options as never)).rejects.toMatchObject({
      name: 'SightlineError',
      code: 'INVALID_OPTION',
      message: expect.stringMatching(message),
    });
  });

  it.each([
    ['a list of names', { method: ['gae', 'cam'] }],
    ['an object that is no method', { method: { map: 1 } }],
    ['a BigInt', { method: 10n }],
    ['a BigInt as an option', { method: 'gae', memory: 10n }],
    [
      'a getter that throws',
      Object.defineProperty({ method: 'gae' }, 'raw', {
        enumerable: true,
        get: () => {
          throw new Error('no');
        },
      }),
    ],
    ['a name of 100,000 characters', { method: 'x'.repeat(100_000) }],
    ['an option of 100,000 characters', { method: 'gae', ['y'.repeat(100_000)]: 1 }],
    ['a target of 100,000 characters', { method: 'gradient', targets: ['z'.repeat(100_000)] }],
  ])('%s is refused in a short, typed sentence', async (_, options) => {
    const error: unknown = await model.explain(image, options as never).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      name: 'SightlineError',
      code: expect.stringMatching(/^(INVALID_OPTION|UNKNOWN_TARGET)$/),
    });
    expect((error as Error).message.length).toBeLessThan(1000);
  });
});

describe('what throws when it is read', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadSmall('timm-vit-fused-traced');
  });
  afterAll(() => model.close());
  const thrown = new Error('not today');
  const trap = new Proxy(
    {},
    {
      get: () => {
        throw thrown;
      },
    },
  ) as never;
  const getter = (name: string): never =>
    Object.defineProperty({}, name, {
      enumerable: true,
      get: () => {
        throw thrown;
      },
    }) as never;
  const image = randomTensor(1, 24, 40, 4);

  it.each<[string, string, () => Promise<unknown>]>([
    ['explain', 'INVALID_OPTION', () => model.explain(image, trap)],
    ['a list of methods', 'INVALID_OPTION', () => model.explain(image, [getter('method')] as never)],
    ['a list of one option', 'INVALID_OPTION', () => model.capture(image, { features: trap })],
    ['an option of an option', 'INVALID_OPTION', () => model.capture(image, { features: ['norm'], gradients: trap })],
    ['methods', 'INVALID_OPTION', () => model.evaluate(image, { methods: trap, metrics: ['sparseness'] })],
    ['metrics', 'INVALID_OPTION', () => model.evaluate(image, { methods: ['gae'], metrics: [getter('metric')] })],
    ['an image', 'INVALID_INPUT', () => model.predict(trap)],
    ['one of several images', 'INVALID_INPUT', () => model.predict([image, trap])],
  ])('%s: its words stand in a sentence, and it is the cause', async (_, code, call) => {
    const error: unknown = await call().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'SightlineError', code });
    expect((error as Error).message).toMatch(/ cannot be read: not today\.$/);
    expect((error as Error).cause).toBe(thrown);
  });
});

describe('axes of one name', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());

  it.each([
    [
      'rename',
      (image: symbolic.Value) => symbolic.rename(image, 'height', 'width'),
      /renames "height" to "width", which another axis/,
    ],
    [
      'stack',
      (image: symbolic.Value) =>
        symbolic.stack([image, symbolic.transpose(image, ['batch', 'channels', 'width', 'height'])], 'copies'),
      /stacks values of different axes/,
    ],
    [
      'stack along an axis that is there',
      (image: symbolic.Value) => symbolic.stack([image, image], 'width'),
      /two axes of one name/,
    ],
    [
      'split',
      (image: symbolic.Value) => symbolic.split(image, 'height', { width: 4, height: 8 }),
      /two axes of one name/,
    ],
    [
      'transpose',
      (image: symbolic.Value) => symbolic.transpose(image, ['batch', 'height', 'width']),
      /name each axis once/,
    ],
  ] as const)('%s refuses them', async (_, act, message) => {
    const method = {
      ...counting().method,
      map: ({ model: of }: { model: { image: symbolic.Value } }) => mean(act(of.image), 'channels'),
    };
    await expect(model.explain(randomTensor(1, 32, 32), { method: method })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(message),
    });
  });
});
