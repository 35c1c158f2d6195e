import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { Model } from '../../../lib/index.js';
import { pixelsOf } from '../../support/models.js';
import { roundingOf } from '../../support/rounding.js';
import { explainWith } from './support.js';

const PICTURE = fileURLToPath(new URL('../../../models/eval/000.png', import.meta.url));
const OTHER = fileURLToPath(new URL('../../../models/eval/002.png', import.meta.url));
/** That of the picture's first object. */
const CLASS = 11;
const STEPS = 150;

const MODELS = ['resnet-tiny-shapes', 'vit-tiny-shapes'];

/** The score of a class, from a run that has nothing to do with a method. */
async function logitOf(model: Model, input: Parameters<Model['capture']>[0], target: number): Promise<number> {
  const { classes, nodes } = await model.inspect();
  const head = nodes.findLast(({ shape }) => shape.length === 2 && shape[1] === classes)!.name;
  return (await model.capture(input, { features: [head] })).features[head]!.data[target]!;
}

describe.each(MODELS)('integrated gradients of %s', (name) => {
  it(`sum to the score's gain within 1 % at ${STEPS} steps, as the figures say`, async () => {
    await using model = await Model.load(name, { device: 'cpu' });
    const [explained] = await explainWith(
      model,
      PICTURE,
      'integrated-gradients',
      { steps: STEPS },
      { targets: ['top1'] },
    );
    const { data, figures } = explained!.maps[0]!;
    expect(figures['relativeCompletenessError']).toBeLessThan(0.01);

    // The gain, from two runs that have nothing to do with the method: the image and one of its mean colour.
    const target = explained!.predictions[0]!.index;
    const { height, width } = await model.inspect();
    const gain =
      (await logitOf(model, PICTURE, target)) -
      (await logitOf(model, { data: new Float32Array(3 * height * width), shape: [1, 3, height, width] }, target));
    const total = data.reduce((sum, value) => sum + value, 0);
    // A sum of all the places and a difference of two scores, each as exact as the network's operators are.
    const size = data.reduce((sum, value) => sum + Math.abs(value), 0);
    expect(Math.abs(total - gain - figures['completenessError']!)).toBeLessThanOrEqual(
      2 * (await roundingOf(model)) * size,
    );
    expect(Math.abs(total - gain)).toBeLessThan(0.01 * Math.abs(gain));
  });
});

describe.each(MODELS)('expected gradients of %s', (name) => {
  it("sum, on average, to the score's gain over its mean on the baselines", async () => {
    await using model = await Model.load(name, { device: 'cpu' });
    const { height, width } = await model.inspect();
    const size = 3 * height * width;
    const other = await pixelsOf(model, OTHER);
    const baselines = { data: new Float32Array(2 * size), shape: [2, 3, height, width] };
    baselines.data.set(other.data);
    const totals: number[] = [];
    for (let seed = 0; seed < 8; seed++) {
      const options = { samples: 32, seed, baselines };
      const [explained] = await explainWith(model, PICTURE, 'expected-gradients', options, { targets: [CLASS] });
      totals.push(explained!.maps[0]!.data.reduce((sum, value) => sum + value, 0));
    }
    const gain =
      (await logitOf(model, PICTURE, CLASS)) -
      ((await logitOf(model, other, CLASS)) +
        (await logitOf(model, { data: new Float32Array(size), shape: [1, 3, height, width] }, CLASS))) /
        2;
    const mean = totals.reduce((sum, total) => sum + total, 0) / totals.length;
    const variance = totals.reduce((sum, total) => sum + (total - mean) ** 2, 0) / (totals.length - 1);
    const error = Math.sqrt(variance / totals.length);
    // Student's t of 7 degrees of freedom is beyond 4.8 once in 500 times.
    expect(Math.abs(mean - gain)).toBeLessThan(4.8 * error);
    // So it tells the gain from nothing.
    expect(4.8 * error).toBeLessThan(Math.abs(gain));
  });
});

describe.each(MODELS)('idgi of %s', (name) => {
  it.each(['integrated-gradients', 'blur-ig'] as const)('%s: complete whatever the number of steps', async (method) => {
    await using model = await Model.load(name, { device: 'cpu' });
    const options = { steps: 5, quadrature: 'idgi' };
    const [explained] = await explainWith(model, PICTURE, method, options, { targets: [CLASS] });
    const { data, figures } = explained!.maps[0]!;
    const total = data.reduce((sum, value) => sum + value, 0);
    // Each step's gain is the difference of two scores, and shared out among the places.
    const rounding = 2 * (await roundingOf(model)) * data.reduce((sum, value) => sum + Math.abs(value), 0);
    expect(Math.abs(figures['completenessError']!)).toBeLessThanOrEqual(rounding);
    expect(Math.abs(total)).toBeGreaterThan(100 * rounding);
    if (method === 'blur-ig') return;
    const { height, width } = await model.inspect();
    const gain =
      (await logitOf(model, PICTURE, CLASS)) -
      (await logitOf(model, { data: new Float32Array(3 * height * width), shape: [1, 3, height, width] }, CLASS));
    expect(Math.abs(total - gain)).toBeLessThanOrEqual(rounding);
  });
});
