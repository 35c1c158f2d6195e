import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type JudgedMethod, type ObjectPlace, type SearchOptions } from '../../lib/index.js';
import { parseSearchOptions } from '../../lib/requests/search/options.js';
import { bootstrapMean } from '../../lib/requests/evaluate/statistics.js';
import { randomTensor } from '../support/models.js';

const EVAL = new URL('../../models/eval/', import.meta.url);
const pathOf = (file: string): string => fileURLToPath(new URL(file, EVAL));
const pictures = (
  JSON.parse(readFileSync(new URL('index.json', EVAL), 'utf8')) as {
    readonly file: string;
    readonly mask: string;
    readonly objects: readonly { readonly index: number }[];
  }[]
).slice(0, 8);

let vit: Model;
let cnn: Model;
let objects: ObjectPlace[];
const images = pictures.map(({ file }) => pathOf(file));
const targets = pictures.map(({ objects: [first] }) => [first!.index]);
beforeAll(async () => {
  [vit, cnn] = (await Promise.all(
    ['vit-tiny-shapes', 'resnet-tiny-shapes'].map((name) => Model.load(name, { device: 'cpu' })),
  )) as [Model, Model];
  // The gray of a picture's first object is 1.
  objects = await Promise.all(
    pictures.map(async ({ mask }) => {
      const { data, info } = await sharp(pathOf(mask)).raw().toBuffer({ resolveWithObject: true });
      const own = Uint8Array.from({ length: info.width * info.height }, (_, i) =>
        data[i * info.channels] === 1 ? 1 : 0,
      );
      return { data: own, width: info.width, height: info.height };
    }),
  );
});
afterAll(() => Promise.all([vit.close(), cnn.close()]));

describe('a search', () => {
  it('gives every candidate the figure that evaluate gives it, and tries the winner on the rest', async () => {
    const progress: number[] = [];
    const found = await vit.search(images, {
      candidates: [
        {
          method: 'gradient-rollout',
          row: 'class-token',
          over: { headFusion: ['positive-part', 'max'], residualWeight: [0, 0.5], discardRatio: [0, 0.5] },
        },
        'gae',
        { method: 'attention-rollout', discardRatio: 0.9 },
      ],
      metric: 'mass-accuracy',
      targets,
      objects,
      heldOut: 0.25,
      seed: 5,
      onProgress: ({ done, total }) => progress.push(done / total),
    });
    expect(progress.at(-1)).toBe(1);
    // 8 of the space, the default of its method, gae, and rollout with its default.
    expect(found.candidates.map(({ label }) => label).sort()).toEqual(
      [
        ...['positive-part', 'max'].flatMap((fusion) =>
          [0, 0.5].flatMap((weight) =>
            [0, 0.5].map(
              (ratio) => `gradient-rollout headFusion=${fusion} residualWeight=${weight} discardRatio=${ratio}`,
            ),
          ),
        ),
        'gradient-rollout',
        'gae',
        'attention-rollout',
        'attention-rollout discardRatio=0.9',
      ].sort(),
    );
    expect([found.chosenOn.images, found.heldOut!.images]).toEqual([6, 2]);

    const { judgements } = await vit.evaluate(images, {
      methods: found.candidates.map(({ options, label }) => ({ ...(options as object), label }) as JudgedMethod),
      metrics: ['mass-accuracy'],
      targets,
      objects,
    });
    const figuresOf = (label: string): number[] =>
      judgements.filter(({ method }) => method === label).map(({ figures }) => figures['mass-accuracy']!);
    // Which images decide is the search's own affair: one of the choices of 6 of 8 gives every mean.
    const pairs = Array.from({ length: 8 }, (_, a) => Array.from({ length: a }, (__, b) => [a, b] as const)).flat();
    const meanOf = (values: readonly number[]): number => bootstrapMean(values, 0.95, 0).mean;
    const without = (values: readonly number[], held: readonly number[]) => values.filter((_, i) => !held.includes(i));
    const fitting = pairs.filter((held) =>
      found.candidates.every(({ label, mean }) => Math.abs(meanOf(without(figuresOf(label), held)) - mean) < 1e-5),
    );
    expect(fitting).toHaveLength(1);
    const [held] = fitting;
    const means = found.candidates.map(({ mean }) => mean);
    expect(means).toEqual([...means].sort((a, b) => b - a));
    expect(found.best).toBe(found.candidates[0]);
    const { label } = found.best;
    const paper = label.split(' ')[0]!;
    const onHeld = (of: string): number => meanOf(figuresOf(of).filter((_, i) => held!.includes(i)));
    expect(found.heldOut!.best.mean).toBeCloseTo(onHeld(label), 5);
    expect(found.heldOut!.paper.mean).toBeCloseTo(onHeld(paper), 5);
    expect(found.heldOut!.gain.mean).toBeCloseTo(onHeld(label) - onHeld(paper), 5);
    expect(found.chosenOn.gain.mean).toBeCloseTo(found.chosenOn.best.mean - found.chosenOn.paper.mean, 6);
  });

  it('takes the lowest where lower is better, and its gain is a fall', async () => {
    const { candidates, better, chosenOn, heldOut } = await cnn.search(images, {
      candidates: ['grad-cam', { method: 'grad-cam', layer: 'layer2' }, { method: 'random-cam' }],
      metric: { metric: 'deletion', steps: 6 },
      heldOut: 0,
    });
    expect(better).toBe('lower');
    const means = candidates.map(({ mean }) => mean);
    expect(means).toEqual([...means].sort((a, b) => a - b));
    expect(chosenOn.gain.mean).toBeCloseTo(chosenOn.paper.mean - chosenOn.best.mean, 6);
    expect(heldOut).toBeNull();
  });

  it('does not let one win that marks nothing where it is hard', async () => {
    const tensor = randomTensor(4, 224, 224);
    const { z, defineMethod, symbolic } = await import('../../lib/index.js');
    // The whole truth about the first image, and nothing about the others.
    const shy = defineMethod({
      name: 'shy',
      options: z.strictObject({}),
      usesLayer: false,
      isClassSpecific: false,
      reasonAgainst: () => null,
      map: ({ model }) => {
        const first = symbolic.select(symbolic.select(symbolic.abs(model.image), 'channels', 0), 'height', 0);
        const isFirst = symbolic.greater(symbolic.max(first, ['width']), 1.5);
        return model.given('mask', ['batch', 'height', 'width']).mul(isFirst);
      },
    });
    tensor.data[0] = 2;
    const { candidates } = await cnn.search(tensor, {
      candidates: [{ method: shy, label: 'shy' }, { method: 'grad-cam' }],
      metric: 'mass-accuracy',
      objects: Array.from({ length: 4 }, () => ({ boxes: [{ left: 0, top: 0, width: 20, height: 20 }] })),
      heldOut: 0,
    });
    expect(candidates.find(({ label }) => label === 'shy')).toMatchObject({ count: 1, without: 3, mean: 1 });
  });

  it('has candidates of its own for a model with attention and for one without', async () => {
    const ofVit = parseSearchOptions({ metric: 'sparseness' }, await vit.inspect()).candidates;
    // 4 starts of 6 blocks: 96 of gradient rollout and 108 of rollout; both defaults are two more.
    expect(ofVit).toHaveLength(206);
    const ofCnn = parseSearchOptions({ metric: 'sparseness' }, await cnn.inspect()).candidates;
    expect(ofCnn.map(({ label }) => label)).toContain('layer-cam layer=layer2 augmentationSmoothing=true');
    expect(ofCnn).toHaveLength(5 * 4 * 2 + 5);
  });

  it.each([
    [{ candidates: ['grad-cam'], metric: 'sparseness' }, 'one candidate'],
    [{ candidates: [{ method: 'grad-cam', over: {} }], metric: 'sparseness' }, 'The space of grad-cam is wrong'],
    [{ candidates: [{ method: 'grad-cam', over: { layer: 'layer2' } }], metric: 'sparseness' }, 'at `layer`'],
    [
      { candidates: [{ method: 'rise', over: { masks: Array(50).fill(1), grid: Array(50).fill(1) } }], metric: 'iou' },
      '2,500 candidates',
    ],
    [
      {
        candidates: [
          { method: 'gradient', label: 'a' },
          { method: 'grad-cam', label: 'a' },
        ],
        metric: 'sparseness',
      },
      'two different candidates "a"',
    ],
    [{ candidates: ['grad-cam', 'grad-kam'], metric: 'sparseness' }, 'no method "grad-kam"'],
    [{ candidates: ['grad-cam', 'gradient'], metric: 'iou' }, 'give `objects`'],
    [{ candidates: ['grad-cam', 'gradient'], metric: 'sparsity' }, 'no metric "sparsity"'],
    [{ candidates: ['grad-cam', 'gradient'], metric: 'sparseness', heldOut: 1 }, 'heldOut'],
    [{ candidates: ['grad-cam', 'gradient'], metric: 'sparseness', targets: [[1], [2]] }, '2 lists of targets for 8'],
    [{ candidates: ['grad-cam', 'gradient'], metric: 'sparseness', targets: [[1], 2] }, 'targets'],
    [
      {
        candidates: ['grad-cam', 'gradient'],
        metric: 'iou',
        objects: [{ boxes: [{ left: 0, top: 0, width: 1, height: 1 }] }],
      },
      '1 objects for 8 images',
    ],
    [{ candidates: [{ method: 'grad-cam', over: { layer: [3] } }], metric: 'sparseness' }, 'layer'],
    [{ candidates: [{ method: 'grad-cam', over: { lair: ['a', 'b'] } }], metric: 'sparseness' }, 'no option "lair"'],
    [{ candidates: ['grad-cam', 'gradient'], metric: 'sparseness', objects: [1, 2] }, 'objects'],
    [{ candidates: ['grad-cam', null], metric: 'sparseness' }, 'A candidate of search is'],
  ])('refuses %j', async (options, text) => {
    await expect(cnn.search(images, options as unknown as SearchOptions)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining(text) as string,
    });
  });
});
