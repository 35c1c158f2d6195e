import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { Model } from '../../../lib/index.js';
import { roundingOf } from '../../support/rounding.js';
import { explainWith } from './support.js';

const PICTURE = fileURLToPath(new URL('../../../models/eval/000.png', import.meta.url));
const STEPS = 150;

describe.each(['resnet-tiny-shapes', 'vit-tiny-shapes'])('integrated gradients of %s', (name) => {
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
    const { classes, height, width, nodes } = await model.inspect();
    const head = nodes.findLast(({ shape }) => shape.length === 2 && shape[1] === classes)!.name;
    const logit = async (input: Parameters<Model['capture']>[0]): Promise<number> =>
      (await model.capture(input, { features: [head] })).features[head]!.data[target]!;
    const gain =
      (await logit(PICTURE)) -
      (await logit({ data: new Float32Array(3 * height * width), shape: [1, 3, height, width] }));
    const total = data.reduce((sum, value) => sum + value, 0);
    // A sum of all the places and a difference of two scores, each as exact as the network's operators are.
    const size = data.reduce((sum, value) => sum + Math.abs(value), 0);
    expect(Math.abs(total - gain - figures['completenessError']!)).toBeLessThanOrEqual(
      2 * (await roundingOf(model)) * size,
    );
    expect(Math.abs(total - gain)).toBeLessThan(0.01 * Math.abs(gain));
  });
});
