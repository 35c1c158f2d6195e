import path from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { Model, stats } from '../../lib/index.js';
import { ROOT } from '../setup/fixtures.js';

const SIDE = 224;
const ones = { data: new Float32Array(3 * SIDE * SIDE).fill(1), shape: [1, 3, SIDE, SIDE] as const };

/** Of a convolution without bias on an image of ones: each channel's sum of weights, far from the edges. */
async function sumsOfWeights(model: Model): Promise<number[]> {
  const { features } = await model.capture(ones, { features: ['conv1'] });
  const { data, shape } = features['conv1']!;
  const [, channels, height, width] = shape as [number, number, number, number];
  const middle = (height >> 1) * width + (width >> 1);
  return Array.from({ length: channels }, (_, channel) => data[channel * height * width + middle]!);
}

const open = async (name: string): Promise<Model> => {
  const model = await Model.load(name, { device: 'cpu' });
  onTestFinished(() => model.close());
  return model;
};
const shuffled = async (model: Model, seed?: number): Promise<Model> => {
  const copy = await model.shuffled({ seed });
  onTestFinished(() => copy.close());
  return copy;
};

describe('a model of shuffled weights', () => {
  it('has the same numbers in other places, the same for the same seed', async () => {
    const model = await open('resnet-tiny-shapes');
    const own = await sumsOfWeights(model);
    const [first, again, other] = await Promise.all([shuffled(model), shuffled(model, 0), shuffled(model, 1)]);
    const sums = await sumsOfWeights(first);
    const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
    const size = own.reduce((sum, value) => sum + Math.abs(value), 0);
    // The order of summation is another, and so the rounding.
    expect(Math.abs(total(sums) - total(own))).toBeLessThan(1e-4 * size);
    expect(sums).not.toEqual(own);
    expect(await sumsOfWeights(again)).toEqual(sums);
    expect(await sumsOfWeights(other)).not.toEqual(sums);
    expect(first.weightBytes).toBe(model.weightBytes);
    expect(first.card).toEqual(model.card);
  });

  it.each(['efficientnet-lite0', 'vit-tiny-shapes'])('leaves %s as it was, and explains', async (name) => {
    const model = await open(name);
    const [before] = await model.predict(ones);
    const [answer] = await (await shuffled(model)).explain(ones, { targets: [0], size: 'grid' });
    expect(answer!.maps[0]!.state).toBe('ok');
    const [after] = await model.predict(ones);
    expect(after).toEqual(before);
  });

  it('is refused where the weights are constants of the graph', async () => {
    const model = await open(path.join(ROOT, 'test/parity/archives/torchvision-resnet-frozen.pt'));
    await expect(model.shuffled()).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringContaining('constants of the graph') as string,
    });
  });

  it('is refused of a closed model, by a wrong seed, and after an abort, which frees it', async () => {
    const model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
    await expect(model.shuffled({ seed: -1 })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    const { models } = stats();
    const controller = new AbortController();
    const copy = model.shuffled({ signal: controller.signal });
    controller.abort();
    await expect(copy).rejects.toMatchObject({ code: 'ABORTED' });
    await model.close();
    await expect(model.shuffled()).rejects.toMatchObject({ code: 'MODEL_CLOSED' });
    while (stats().models > models - 1) await new Promise((resolve) => setTimeout(resolve, 5));
  });
});
