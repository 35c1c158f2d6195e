import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  defineMethod,
  Model,
  symbolic,
  z,
  type EvaluateOptions,
  type ExplainOptions,
  type JudgedMethod,
  type Method,
  type MethodName,
  type ObjectPlace,
} from '../../lib/index.js';
import { METHODS } from '../../lib/methods/index.js';
import { similarityOf } from '../../lib/requests/sanity/similarity.js';

/**
 * What is known of maps before any is measured, on trained models. Each statement is of means over pictures that are
 * fixed, with a margin: a metric that is turned round, or reads the wrong class or place, breaks several.
 */

const SIDE = 224;
const pathOf = (file: string): string => fileURLToPath(new URL(`../../models/${file}`, import.meta.url));
const readIndex = <Entry>(folder: string): Entry[] => JSON.parse(readFileSync(pathOf(`${folder}/index.json`), 'utf8'));

interface Case {
  readonly image: string;
  readonly target: number | string;
  readonly object: ObjectPlace;
}

/** Two objects of different classes, each asked for in turn, with its exact mask. */
async function shapes(pictures: number): Promise<Case[]> {
  interface Entry {
    readonly file: string;
    readonly mask: string;
    readonly objects: readonly { readonly index: number }[];
  }
  const found = readIndex<Entry>('eval').filter(({ objects }) => objects.length === 2);
  const cases = found.slice(0, pictures).map(async ({ file, mask, objects }) => {
    const { data, info } = await sharp(pathOf(`eval/${mask}`))
      .extractChannel(0)
      .raw()
      .toBuffer({ resolveWithObject: true });
    return objects.map(({ index }, object): Case => ({
      image: pathOf(`eval/${file}`),
      target: index,
      object: { data: data.map((gray) => Number(gray === object + 1)), width: info.width, height: info.height },
    }));
  });
  return (await Promise.all(cases)).flat();
}

/** Real photos, with a box around the object. */
function photos(): Case[] {
  interface Entry {
    readonly file: string;
    readonly label: string;
    readonly box: readonly [left: number, top: number, right: number, bottom: number];
  }
  return readIndex<Entry>('demo/photos').map(({ file, label, box: [left, top, right, bottom] }) => ({
    image: pathOf(`demo/photos/${file}`),
    target: label,
    object: { boxes: [{ left, top, width: right - left, height: bottom - top }] },
  }));
}

function methodOf(name: string, map: (model: symbolic.SymbolicModel) => symbolic.Value) {
  return defineMethod({
    name,
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific: false,
    reasonAgainst: () => null,
    map: ({ model }) => map(model),
  });
}
/** The object itself; a plan has it where a metric asks for it. */
const oracle = methodOf('oracle', (model) => model.given('mask', ['batch', 'height', 'width']));
/** The same for every picture: photographers put things in the middle. */
const center = methodOf('center', (model) => {
  const values = Float32Array.from({ length: SIDE * SIDE }, (_, i) => {
    const [row, column] = [Math.floor(i / SIDE), i % SIDE];
    return Math.exp(-((row - SIDE / 2) ** 2 + (column - SIDE / 2) ** 2) / (2 * (SIDE / 5) ** 2));
  });
  const shape = { height: SIDE, width: SIDE };
  return symbolic.expandLike(symbolic.constant(model.image, values, shape), symbolic.sum(model.image, 'channels'));
});
/** A bundled method's map, turned round. */
const negated = (name: 'grad-cam' | 'gae'): JudgedMethod => {
  const method: Method = METHODS[name];
  const map: Method['map'] = (input) => (method.map(input) as symbolic.Value).mul(-1);
  return { method: { ...method, name: `negated ${name}`, map } };
};

/** Mean figures, by method and metric, of a fixed set of pictures. */
type Means = Readonly<Record<string, Readonly<Record<string, number>>>>;

async function meansOf(
  model: Model,
  cases: readonly Case[],
  methods: EvaluateOptions['methods'],
  metrics: EvaluateOptions['metrics'],
): Promise<Means> {
  const evaluation = await model.evaluate(
    cases.map(({ image }) => image),
    {
      methods,
      metrics,
      targets: cases.map(({ target }) => [target]),
      objects: cases.map(({ object }) => object),
    },
  );
  const means: Record<string, Record<string, number>> = {};
  for (const { method, metric, mean } of evaluation.summary()) (means[method] ??= {})[metric] = mean;
  return means;
}

/** That one mean is above another by more than a margin. */
function expectAbove(means: Means, metric: string, [higher, lower]: readonly [string, string], margin: number): void {
  const [of, to] = [means[higher]![metric]!, means[lower]![metric]!];
  expect(of - to, `${metric}: ${higher} ${of.toFixed(3)}, ${lower} ${to.toFixed(3)}`).toBeGreaterThan(margin);
}

const LOCALIZATION = [
  'pointing-game',
  'mass-accuracy',
  'rank-accuracy',
  'top-k-intersection',
  'localization-auc',
  'iou',
] as const;

function expectOracleBest(means: Means): void {
  for (const metric of LOCALIZATION) {
    // A quotient of sums of 50,176 ones and zeros, which float32 holds exactly.
    expect(means['oracle']![metric], metric).toBeCloseTo(1, 6);
    for (const method of Object.keys(means).filter((each) => each !== 'oracle' && !each.startsWith('negated'))) {
      const of = means[method]![metric]!;
      // Any method can have its few highest pixels on the object; its order and its mass are never the mask's.
      if (metric === 'pointing-game' || metric === 'top-k-intersection') expect(of, method).toBeLessThanOrEqual(1);
      else expect(of, `${method}, ${metric}`).toBeLessThan(metric === 'localization-auc' ? 0.995 : 0.95);
    }
  }
}

/** Turned round, the best map is the worst. */
function expectNegatedWorst(means: Means, good: string): void {
  for (const metric of ['pointing-game', 'rank-accuracy', 'top-k-intersection', 'localization-auc']) {
    for (const method of ['random-cam', 'center', good]) expectAbove(means, metric, [method, `negated ${good}`], 0.05);
  }
  expect(means[`negated ${good}`]!['localization-auc']).toBeCloseTo(1 - means[good]!['localization-auc']!, 4);
  // Nothing of it is positive.
  expect(means[`negated ${good}`]!['mass-accuracy']).toBeNaN();
}

const CURVES: EvaluateOptions['metrics'] = [
  'pointing-game',
  { metric: 'deletion', steps: 20 },
  { metric: 'insertion', steps: 20 },
];
const ROAD: EvaluateOptions['metrics'] = ['pointing-game', { metric: 'road', shares: [0.2, 0.5] }];

/** A good map's pixels make the class and take it away, those of maps that know nothing less, turned round least. */
function expectFaithful(means: Means, good: string): void {
  for (const method of [good, 'oracle']) {
    expectAbove(means, 'deletion', ['random-cam', method], 0.03);
    expectAbove(means, 'insertion', [method, 'random-cam'], 0.04);
  }
  expectAbove(means, 'deletion', ['center', good], 0.05);
  expectAbove(means, 'insertion', [good, 'center'], 0.04);
  expectAbove(means, 'deletion', [`negated ${good}`, 'random-cam'], 0.1);
  expectAbove(means, 'insertion', ['random-cam', `negated ${good}`], 0.02);
}

/** Spearman's correlations of two models' maps of the same pictures, as a mean; of a flat map there is none, so 0. */
async function agreement(a: Model, b: Model, cases: readonly Case[], method: JudgedMethod): Promise<number> {
  const images = cases.map(({ image }) => image);
  const options = {
    ...(typeof method === 'string' ? { method } : method),
    targets: cases.map(({ target }) => [target]),
    size: 'image',
    raw: true,
  } as ExplainOptions;
  const [of, to] = [await a.explain(images, options), await b.explain(images, options)];
  const found = of.map(({ maps }, i) => similarityOf(maps[0]!, to[i]!.maps[0]!, 'spearman') || 0);
  return found.reduce((sum, value) => sum + value, 0) / found.length;
}

/** The image alone, whatever the model. */
const imageAlone = methodOf('image-alone', (model) => symbolic.sum(model.image, 'channels'));

/** Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018: what was learned changes with the weights. */
async function expectCollapse(model: Model, name: string, cases: readonly Case[], methods: readonly MethodName[]) {
  // Its kernels are others, so that it is itself to rounding and not to the bit.
  const itself = await Model.load(name, { device: 'cpu', optimize: false });
  const shuffled = await model.shuffled();
  try {
    for (const method of methods) {
      expect(await agreement(model, itself, cases, method), `${method}, itself`).toBeGreaterThan(0.98);
      const left = await agreement(model, shuffled, cases, method);
      expect(Math.abs(left), `${method}, shuffled`).toBeLessThan(0.7);
    }
    expect(await agreement(model, shuffled, cases, { method: imageAlone })).toBe(1);
  } finally {
    await Promise.all([itself.close(), shuffled.close()]);
  }
}

const NAIVE: readonly JudgedMethod[] = [{ method: oracle }, { method: center }, 'random-cam'];

describe.each([
  { name: 'resnet-tiny-shapes', good: 'grad-cam', others: ['cam', 'layer-cam'], blind: ['eigen-cam'] },
  {
    name: 'vit-tiny-shapes',
    good: 'gae',
    others: ['grad-cam', 'gradient-rollout'],
    blind: ['attention-rollout', 'raw-attention'],
  },
] as const)('on pictures of two objects, $name', ({ name, good, others, blind }) => {
  let model: Model;
  let cases: Case[];
  beforeAll(async () => {
    [model, cases] = [await Model.load(name, { device: 'cpu' }), await shapes(8)];
  });
  afterAll(() => model.close());

  it("the object's own mask is best in place; a random map and the middle lose; a map turned round is worst", async () => {
    const specific = [good, ...others];
    const means = await meansOf(model, cases, [...NAIVE, negated(good), ...specific, ...blind], LOCALIZATION);
    expectOracleBest(means);
    expectNegatedWorst(means, good);
    for (const metric of LOCALIZATION) {
      // Few of gae's pixels reach half of its highest, as of all products of attention.
      const better = metric === 'iou' ? 'grad-cam' : good;
      for (const method of ['random-cam', 'center']) expectAbove(means, metric, [better, method], 0.1);
    }
    // What knows no class points at either object.
    for (const method of specific) {
      for (const other of blind) expectAbove(means, 'pointing-game', [method, other], 0.25);
    }
  });

  it('a good map is faithful: by deletion, by insertion', async () => {
    expectFaithful(await meansOf(model, cases.slice(0, 8), [...NAIVE, good, negated(good)], CURVES), good);
  });

  it('and by ROAD', async () => {
    const means = await meansOf(model, cases.slice(0, 4), [...NAIVE, good, negated(good)], ROAD);
    for (const method of [good, 'oracle']) expectAbove(means, 'road', [method, 'random-cam'], 0.04);
    expectAbove(means, 'road', [good, 'center'], 0.04);
    expectAbove(means, 'road', ['random-cam', `negated ${good}`], 0.1);
  });

  it('maps that read the weights are others where these are shuffled', async () => {
    const each = cases.filter((_, i) => i % 2 === 0);
    await expectCollapse(model, name, each, ['gradient', 'input-x-gradient', ...new Set(['grad-cam', good] as const)]);
  });
});

describe('on photos, efficientnet-lite0', () => {
  const name = 'efficientnet-lite0';
  const cases = photos();
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(name, { device: 'cpu' });
  });
  afterAll(() => model.close());

  it('the box itself is best in place; a random map loses; the middle too, but for the single highest pixels', async () => {
    const means = await meansOf(model, cases, [...NAIVE, 'grad-cam', 'layer-cam', negated('grad-cam')], LOCALIZATION);
    expectOracleBest(means);
    expectNegatedWorst(means, 'grad-cam');
    for (const metric of LOCALIZATION) expectAbove(means, metric, ['grad-cam', 'random-cam'], 0.2);
    for (const metric of ['rank-accuracy', 'localization-auc', 'iou']) {
      expectAbove(means, metric, ['grad-cam', 'center'], 0.08);
    }
  });

  it('grad-cam is faithful: by deletion, by insertion', async () => {
    expectFaithful(await meansOf(model, cases, [...NAIVE, 'grad-cam', negated('grad-cam')], CURVES), 'grad-cam');
  });

  it('and by ROAD', async () => {
    const means = await meansOf(model, cases, ['random-cam', 'grad-cam', negated('grad-cam')], ROAD);
    expectAbove(means, 'road', ['grad-cam', 'random-cam'], 0.15);
    expectAbove(means, 'road', ['random-cam', 'negated grad-cam'], 0.08);
  });

  it('maps that read the weights are others where these are shuffled', async () => {
    await expectCollapse(model, name, cases, ['gradient', 'grad-cam']);
  });
});
