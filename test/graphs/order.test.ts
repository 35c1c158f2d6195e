import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { METHOD_NAMES, Model } from '../../lib/index.js';
import { METHODS } from '../../lib/methods/index.js';
import { FEW_SAMPLES } from '../support/few-samples.js';
import { findPython } from '../support/python.js';
import { exportModels } from './exports.js';

interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

interface Expected {
  readonly input: Numbers;
  readonly scores: Numbers;
  readonly feature: Numbers;
  readonly layer: string;
  readonly order: number[];
  readonly gradCam: Numbers;
  readonly rounding: number;
}

const python = findPython();

/** Float32's own rounding of numbers around 1, after some dozens of operations. */
const FLOAT32 = 2 ** -18;

const NAMES = [
  'units',
  'windows',
  'windows-shifted',
  'windows-padded',
  'windows-padded-shifted',
  'windows-square',
  'windows-axis',
];

/** Whose maps are of a layer's places, and do not depend on a draw of numbers at them. */
const OF_PLACES = METHOD_NAMES.filter((name) => METHODS[name].usesLayer && name !== 'random-cam');

describe.skipIf(python === null)('patches in another order than that of rows', () => {
  let folder: string;
  let expected: Record<string, Expected>;

  beforeAll(async () => {
    ({ folder, expected } = await exportModels<Expected>(python!, 'order_models.py'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const load = (name: string): Promise<Model> => Model.load(join(folder, `${name}.pt`), { device: 'cpu' });
  const imagesOf = (name: string): { data: Float32Array; shape: [number, number, number, number] } => {
    const { data, shape } = expected[name]!.input;
    return { data: Float32Array.from(data), shape: shape as [number, number, number, number] };
  };
  const sizeOf = (name: string): { height: number; width: number } => {
    const [, , height, width] = expected[name]!.input.shape as [number, number, number, number];
    return { height, width };
  };
  const expectClose = (found: ArrayLike<number>, wanted: ArrayLike<number>, limit: number): void => {
    expect(found.length).toBe(wanted.length);
    let scale = 1,
      worst = 0;
    for (let i = 0; i < wanted.length; i++) {
      scale = Math.max(scale, Math.abs(wanted[i]!));
      worst = Math.max(worst, Math.abs(wanted[i]! - found[i]!));
    }
    expect(worst).toBeLessThanOrEqual(limit * scale);
  };

  it.each(NAMES)('%s: which entry each patch is, is found', async (name) => {
    const { layer, order, gradCam } = expected[name]!;
    await using model = await load(name);
    const { nodes } = await model.inspect(sizeOf(name));
    const [, height, width] = gradCam.shape as [number, number, number];
    expect(nodes.find((node) => node.name === layer)).toMatchObject({
      layout: 'tokens',
      grid: { height, width, prefix: 0, suffix: order.length - height * width, order },
    });
    expect(nodes.find((node) => node.name === 'outside')).toMatchObject({
      layout: 'tokens',
      grid: { height, width, prefix: 0, suffix: 0, order: null },
    });
  });

  it.each(NAMES)('%s: Grad-CAM there is autograd’s, put back in rows', async (name) => {
    const { layer, gradCam, rounding } = expected[name]!;
    await using model = await load(name);
    const explained = await model.explain(imagesOf(name), { method: 'grad-cam', layer, targets: [1], size: 'grid' });
    const [, height, width] = gradCam.shape as [number, number, number];
    explained.forEach(({ maps }, i) => {
      expect(maps[0]!.shape).toEqual([height, width]);
      const wanted = gradCam.data.slice(i * height * width, (i + 1) * height * width);
      expect(Math.max(...wanted)).toBe(1);
      expectClose(maps[0]!.data, wanted, FLOAT32 + 8 * rounding);
    });
  });

  it.each(NAMES)('%s: what is captured is what the module gives', async (name) => {
    const { layer, feature } = expected[name]!;
    await using model = await load(name);
    const { features } = await model.capture(imagesOf(name), { features: [layer] });
    expectClose(features[layer]!.data, feature.data, FLOAT32);
  });

  // Without padding the two hold the same numbers.
  it.each(['units', 'windows', 'windows-shifted', 'windows-square', 'windows-axis'])(
    '%s: every method’s map is the one of the same tokens in rows',
    async (name) => {
      await using model = await load(name);
      const { layer } = expected[name]!;
      const images = imagesOf(name);
      for (const method of OF_PLACES) {
        const { applies } = (await model.inspect(sizeOf(name))).methods.find((each) => each.name === method)!;
        if (!applies) continue;
        const at = async (of: string): Promise<Float32Array[]> => {
          const explained = await model.explain(images, {
            method,
            ...FEW_SAMPLES[method],
            layer: of,
            targets: [1],
            size: 'grid',
          } as never);
          return explained.map(({ maps }) => maps[0]!.data);
        };
        const [inside, outside] = [await at(layer), await at('outside')];
        // Rounding of sums in another order, through softmaxes of scores.
        inside.forEach((map, i) => expectClose(map, outside[i]!, 2 ** -12));
      }
    },
  );
});
