import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type LoadOptions } from '../../lib/index.js';
import { findPython } from '../support/python.js';
import { exportModels } from './exports.js';

interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

interface Expected {
  readonly input: Numbers;
  readonly outputs: Record<string, Numbers>;
  readonly gradCam?: {
    readonly layer: string;
    readonly output: string | null;
    readonly class: number;
    readonly map: Numbers;
    readonly rounding: number;
  };
}

const python = findPython();

/** Float32's own rounding of numbers around 1, after some dozens of operations. */
const FLOAT32 = 2 ** -19;

describe.skipIf(python === null)('graphs as people export them', () => {
  let folder: string;
  let expected: Record<string, Expected>;

  beforeAll(async () => {
    ({ folder, expected } = await exportModels<Expected>(python!, 'models.py'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const load = (name: string, options: LoadOptions = {}): Promise<Model> =>
    Model.load(join(folder, `${name}.pt`), { device: 'cpu', ...options });
  const imagesOf = (name: string): { data: Float32Array; shape: [number, number, number, number] } => {
    const { data, shape } = expected[name]!.input;
    return { data: Float32Array.from(data), shape: shape as [number, number, number, number] };
  };
  const rowsOf = ({ data, shape }: Numbers): number[][] =>
    Array.from({ length: shape[0]! }, (_, i) => data.slice(i * shape[1]!, (i + 1) * shape[1]!));
  const expectClose = (found: ArrayLike<number>, wanted: readonly number[], limit = FLOAT32): void => {
    const scale = Math.max(1, ...wanted.map(Math.abs));
    expect(found.length).toBe(wanted.length);
    expect(Math.max(...wanted.map((value, i) => Math.abs(value - found[i]!)))).toBeLessThanOrEqual(limit * scale);
  };
  /** Scores of each image in class order. */
  const scoresOf = async (model: Model, name: string): Promise<number[][]> =>
    (await model.predict(imagesOf(name), { top: 1000 })).map(({ predictions }) =>
      [...predictions].sort((a, b) => a.index - b.index).map(({ score }) => score),
    );

  describe('Grad-CAM equals autograd', () => {
    it.each([
      'folded-2',
      'folded-5',
      'view-as',
      'max-pool',
      'max-of-axis',
      'padded',
      'heads',
      'named-heads',
      'halves',
      'embedding-first',
    ])('%s', async (name) => {
      const { layer, output, class: target, map, rounding } = expected[name]!.gradCam!;
      for (const optimize of [true, false]) {
        await using model = await load(name, { optimize, ...(output !== null && { output }) });
        const explained = await model.explain(imagesOf(name), {
          method: 'grad-cam',
          layer,
          targets: [target],
          size: 'grid',
        });
        const [, height, width] = map.shape as [number, number, number];
        explained.forEach(({ maps }, i) => {
          expect(maps[0]!.shape).toEqual([height, width]);
          expectClose(
            maps[0]!.data,
            map.data.slice(i * height * width, (i + 1) * height * width),
            FLOAT32 + 8 * rounding,
          );
        });
      }
    });
  });

  it.each([
    'folded-2',
    'folded-5',
    'view-as',
    'max-pool',
    'max-of-axis',
    'padded',
    'encoder-norm-first',
    'encoder-norm-last',
  ])('logits of %s are PyTorch’s', async (name) => {
    await using model = await load(name);
    const predicted = await model.predict(imagesOf(name));
    rowsOf(expected[name]!.outputs['output']!).forEach((row, i) => expectClose(predicted[i]!.logits.data, row));
  });

  it.each(['encoder-norm-first', 'encoder-norm-last'])(
    '%s: attention is opened, and every row of it sums to 1',
    async (name) => {
      await using model = await load(name);
      const { attention, tokens } = await model.inspect({ height: 32, width: 32 });
      expect(attention.map(({ heads, tokens: count }) => [heads, count])).toEqual([
        [4, 16],
        [4, 16],
      ]);
      expect(tokens).toEqual({ height: 4, width: 4, prefix: 0, suffix: 0, classToken: null, isReadKnown: true });
      const captured = await model.capture(imagesOf(name), { attention: 'all' });
      for (const { data } of Object.values(captured.attention)) {
        for (let row = 0; row < data.length; row += 16) {
          expectClose([data.slice(row, row + 16).reduce((sum, value) => sum + value, 0)], [1]);
        }
      }
      for (const method of ['grad-cam', 'attention-rollout', 'gradient-rollout', 'gae'] as const) {
        const { maps } = (await model.explain(imagesOf(name), { method, targets: [1], size: 'grid' }))[0]!;
        expect(maps[0]!.shape).toEqual([4, 4]);
      }
    },
  );

  it('finds the size at which one image has one row of scores', async () => {
    await using model = await load('folded-2');
    expect(model.card.input).toMatchObject({ width: 32, height: 32 });
    await expect(model.inspect({ height: 64, width: 64 })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('4 rows of scores for one image of 64x64') as string,
    });
  });

  describe('images that change one another are run one by one', () => {
    it.each(['batch-statistics', 'minus-mean-of-batch', 'softmax-over-batch'])('%s', async (name) => {
      await using model = await load(name);
      expect(await model.inspect()).toMatchObject({ canBatch: false, imagesInteract: true });
      expect(model.notes.join(' ')).toContain('run one by one');
      const predicted = await model.predict(imagesOf(name));
      rowsOf(expected[name]!.outputs['output']!).forEach((row, i) => expectClose(predicted[i]!.logits.data, row));

      // Samples of one image are images too.
      const occlusion = { method: 'occlusion', window: 16, stride: 16, targets: [1], size: 'grid', raw: true } as const;
      const together = await model.explain(imagesOf(name), { ...occlusion, memory: 2 ** 30 });
      const apart = await model.explain(imagesOf(name), { ...occlusion, memory: 1 });
      together.forEach(({ maps }, i) => expect(maps[0]!.data).toEqual(apart[i]!.maps[0]!.data));
    });

    it('image-and-copy: rows of one image that are not all of a batch', async () => {
      await using model = await load('image-and-copy');
      expect(await model.inspect()).toMatchObject({ canBatch: false, targetLayer: '' });
      const { data, shape } = imagesOf('image-and-copy');
      const size = data.length / shape[0];
      const { features } = await model.capture({ data, shape }, { features: ['body.0'] });
      const each = features['body.0']!.data.length / shape[0];
      for (let i = 0; i < shape[0]; i++) {
        const alone = { data: data.slice(i * size, (i + 1) * size), shape: [1, 3, 32, 32] as typeof shape };
        const single = await model.capture(alone, { features: ['body.0'] });
        expect(features['body.0']!.data.slice(i * each, (i + 1) * each)).toEqual(single.features['body.0']!.data);
      }
    });

    it('and others are not', async () => {
      await using model = await load('labels');
      expect(await model.inspect()).toMatchObject({ canBatch: true, imagesInteract: false });
    });
  });

  const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

  describe('scores are what the model means by them', () => {
    it.each(['one-logit', 'one-logit-squeezed', 'one-logit-squeezed-all'])('%s: no and yes', async (name) => {
      await using model = await load(name);
      expect(model.labels).toEqual(['no', 'yes']);
      expect(await model.inspect()).toMatchObject({ classes: 2, scores: 'yes-or-no', activation: null });
      const scores = await scoresOf(model, name);
      rowsOf(expected[name]!.outputs['output']!).forEach(([x], i) =>
        expectClose(scores[i]!, [sigmoid(-x!), sigmoid(x!)]),
      );
      const { maps } = (
        await model.explain(imagesOf(name), { method: 'gradient', targets: ['no', 'yes'], raw: true })
      )[0]!;
      // The gradient's size is the same for both, and not zero.
      expect(maps[0]!.data).toEqual(maps[1]!.data);
      expect(Math.max(...maps[0]!.data)).toBeGreaterThan(0);
    });

    it('CAM of yes is the opposite of CAM of no', async () => {
      await using model = await load('one-logit');
      const { maps } = (
        await model.explain(imagesOf('one-logit'), {
          method: 'hires-cam',
          layer: '4',
          targets: ['no', 'yes'],
          raw: true,
          size: 'grid',
        })
      )[0]!;
      const { map, rounding } = expected['one-logit']!.gradCam!;
      const high = Math.max(...maps[1]!.data);
      expect(Math.min(...maps[0]!.data, ...maps[1]!.data)).toBeGreaterThanOrEqual(0);
      expect(maps[1]!.data.every((value, i) => value === 0 || maps[0]!.data[i] === 0)).toBe(true);
      expect(high).toBeGreaterThan(0);
      const [grid] = await model.explain(imagesOf('one-logit'), {
        method: 'grad-cam',
        layer: '4',
        targets: ['yes'],
        size: 'grid',
      });
      expectClose(grid!.maps[0]!.data, map.data.slice(0, map.data.length / 2), FLOAT32 + 8 * rounding);
    });

    it('one-probability: the sigmoid is not applied again', async () => {
      await using model = await load('one-probability');
      expect(await model.inspect()).toMatchObject({ classes: 2, scores: 'yes-or-no', activation: 'sigmoid' });
      const scores = await scoresOf(model, 'one-probability');
      rowsOf(expected['one-probability']!.outputs['output']!).forEach(([p], i) =>
        expectClose(scores[i]!, [1 - p!, p!]),
      );
    });

    it.each(['ends-in-softmax', 'labels'])('%s: scores are what comes out', async (name) => {
      await using model = await load(name);
      const scores = await scoresOf(model, name);
      rowsOf(expected[name]!.outputs['output']!).forEach((row, i) => expectClose(scores[i]!, row));
      expect(model.notes.join(' ')).toMatch(/ends in (softmax|sigmoid)/);
    });

    it('ends-in-log-softmax: scores are the probabilities', async () => {
      await using model = await load('ends-in-log-softmax');
      const scores = await scoresOf(model, 'ends-in-log-softmax');
      rowsOf(expected['ends-in-log-softmax']!.outputs['output']!).forEach((row, i) =>
        expectClose(scores[i]!, row.map(Math.exp)),
      );
    });

    it('a value is no probability', async () => {
      await using model = await load('one-logit', { scores: 'value' });
      expect(model.labels).toEqual(['value']);
      const scores = await scoresOf(model, 'one-logit');
      rowsOf(expected['one-logit']!.outputs['output']!).forEach((row, i) => expectClose(scores[i]!, row));
      await expect(
        model.explain(imagesOf('one-logit'), { method: 'occlusion', score: 'probability' }),
      ).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    });

    it('logits of labels, by the card or the option', async () => {
      await using model = await load('heads', { output: 2, scores: 'labels' });
      const scores = await scoresOf(model, 'heads');
      rowsOf(expected['heads']!.outputs['2']!).forEach((row, i) => expectClose(scores[i]!, row.map(sigmoid)));
    });
  });

  describe('outputs', () => {
    it('are listed, the default is said, and each can be asked for', async () => {
      await using model = await load('named-heads');
      const { outputs, output } = await model.inspect();
      expect(outputs).toEqual([
        { name: 'breed', shape: [1, 3] },
        { name: 'colour', shape: [1, 5] },
      ]);
      expect(output).toBe('breed');
      expect(model.notes.join(' ')).toContain('breed (N x 3), colour (N x 5); "breed" is explained');
      await using colour = await load('named-heads', { output: 'colour' });
      const predicted = await colour.predict(imagesOf('named-heads'));
      rowsOf(expected['named-heads']!.outputs['colour']!).forEach((row, i) =>
        expectClose(predicted[i]!.logits.data, row),
      );
      expect(colour.notes.join(' ')).not.toContain('is explained');
    });

    it('scores are preferred to the embedding that they come from', async () => {
      await using model = await load('embedding-first');
      expect((await model.inspect()).output).toBe('1');
    });

    it('can be chosen for one call, beside calls for the usual one', async () => {
      await using model = await load('named-heads');
      const { layer, output, class: target, map, rounding } = expected['named-heads']!.gradCam!;
      expect(output).toBe('colour');
      const images = imagesOf('named-heads');
      const [usual, other, explained, captured] = await Promise.all([
        model.predict(images),
        model.predict(images, { output: 'colour' }),
        model.explain(images, { method: 'grad-cam', output: 'colour', layer, targets: [target], size: 'grid' }),
        model.capture(images, { output: 'colour', features: [layer], gradients: { target } }),
      ]);
      const { breed, colour } = expected['named-heads']!.outputs;
      rowsOf(breed!).forEach((row, i) => expectClose(usual[i]!.logits.data, row));
      rowsOf(colour!).forEach((row, i) => expectClose(other[i]!.logits.data, row));
      expectClose(captured.logits!.data, colour!.data);
      const [, height, width] = map.shape as [number, number, number];
      explained.forEach(({ maps, predictions }, i) => {
        // A card's labels would be those of the usual output.
        expect(predictions[0]!.label).toBe(`class ${predictions[0]!.index}`);
        const wanted = map.data.slice(i * height * width, (i + 1) * height * width);
        expectClose(maps[0]!.data, wanted, FLOAT32 + 8 * rounding);
      });
      expect(await model.inspect({ output: 'colour' })).toMatchObject({ output: 'colour', classes: 5 });
      expect(await model.inspect()).toMatchObject({ output: 'breed', classes: 3 });
    });

    it('can be chosen by place, and the chosen one of a loaded model stays the usual one', async () => {
      await using model = await load('heads', { output: 2, scores: 'labels' });
      const images = imagesOf('heads');
      const other = await model.predict(images, { output: 1, top: 9 });
      rowsOf(expected['heads']!.outputs['1']!).forEach((row, i) => expectClose(other[i]!.logits.data, row));
      // What was said of the numbers was said of the usual one.
      const sum = other[0]!.predictions.reduce((total, { score }) => total + score, 0);
      expectClose([sum], [1]);
      const same = await model.predict(images, { output: 2, top: 9 });
      rowsOf(expected['heads']!.outputs['2']!).forEach((row, i) =>
        expectClose(
          [...same[i]!.predictions].sort((a, b) => a.index - b.index).map(({ score }) => score),
          row.map(sigmoid),
        ),
      );
    });

    it('of one call is one, and one that is there', async () => {
      await using model = await load('named-heads');
      const images = imagesOf('named-heads');
      await expect(model.explain(images, { method: 'gradient', output: 'color' })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining("no output 'color'; it returns breed (N x 3), colour (N x 5)") as string,
      });
      await expect(
        model.explain(images, [{ method: 'gradient', output: 'colour' }, { method: 'input-x-gradient' }]),
      ).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('different outputs of the model') as string,
      });
    });

    it('that are not there are named', async () => {
      await expect(load('named-heads', { output: 'color' })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining("no output 'color'; it returns breed (N x 3), colour (N x 5)") as string,
      });
    });
  });
});
