import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model } from '../../../lib/index.js';
import { GRADIENT_METHODS } from '../../../lib/methods/gradients/index.js';
import { loadSmall, randomTensor } from '../../support/models.js';
import { expectRounded, nudged } from '../../support/rounding.js';
import { relativeDifference } from '../../support/safetensors.js';
import { explainWith, type GradientMethod } from './support.js';

type Options = Readonly<Record<string, unknown>>;

/** Regions small enough for an image of 32 x 48 pixels. */
const FINE: Options = { steps: 3, scales: [50, 200], smallest: 20, dilation: 1, leastAdded: 5 };

/** Superpixels that are fewer than samples, but have more ways to be hidden. */
const FEW: Options = { samples: 40, scale: 100, smallest: 30, grid: 3 };

/** Every option of every method, with a value that is not the one it has in `around` or by default. */
const CHANGES: readonly (readonly [GradientMethod, Options, Options])[] = [
  ...(['gradient', 'input-x-gradient', 'guided-backprop', 'deconvnet'] as const).flatMap((method) => [
    [method, { channels: 'sum' }, { channels: 'max-abs' }] as const,
    [method, {}, { channels: 'mean' }] as const,
    [method, {}, { channels: 'min' }] as const,
  ]),
  ['smooth-grad', { samples: 4 }, { samples: 5 }],
  ['smooth-grad', { samples: 4 }, { noise: 0.3 }],
  ['smooth-grad', { samples: 4 }, { noiseUnit: 'absolute' }],
  ['smooth-grad', { samples: 4 }, { seed: 1 }],
  ['smooth-grad', { samples: 4 }, { average: 'absolute' }],
  ['smooth-grad', { samples: 4 }, { average: 'square' }],
  ['smooth-grad', { samples: 4 }, { channels: 'sum' }],
  ['smooth-grad', {}, { compat: 'captum' }],
  ['smooth-grad', {}, { compat: 'xplique' }],
  ['smooth-grad', {}, { compat: 'pair' }],
  ['var-grad', { samples: 4 }, { samples: 5 }],
  ['var-grad', { samples: 4 }, { noise: 0.3 }],
  ['var-grad', { samples: 4 }, { noiseUnit: 'absolute' }],
  ['var-grad', { samples: 4 }, { seed: 1 }],
  ['var-grad', { samples: 4, noise: 0.5 }, { of: 'absolute' }],
  ['var-grad', { samples: 4 }, { unbiased: false }],
  ['var-grad', { samples: 4 }, { channels: 'max-abs' }],
  ['var-grad', {}, { compat: 'captum' }],
  ['var-grad', {}, { compat: 'xplique' }],
  ['integrated-gradients', { steps: 4 }, { steps: 3 }],
  ['integrated-gradients', { steps: 4 }, { quadrature: 'trapezoid' }],
  ['integrated-gradients', { steps: 4, quadrature: 'left' }, { quadrature: 'right' }],
  ['integrated-gradients', { steps: 4, quadrature: 'left' }, { quadrature: 'middle' }],
  ['integrated-gradients', { steps: 4 }, { baseline: 'blur' }],
  ['integrated-gradients', { steps: 4 }, { baseline: 'white' }],
  ['integrated-gradients', { steps: 4, baseline: 'blur' }, { baseline: { blur: 2 } }],
  ['integrated-gradients', { steps: 4 }, { baseline: 0.5 }],
  ['integrated-gradients', { steps: 4, baseline: 0.5 }, { baseline: [0.5, 0.5, 0] }],
  ['integrated-gradients', { steps: 4 }, { multiplyByInputs: false }],
  ['integrated-gradients', { steps: 4 }, { channels: 'sum-abs' }],
  ['integrated-gradients', { steps: 4, quadrature: 'trapezoid' }, { compat: 'captum' }],
  ['integrated-gradients', { steps: 4, quadrature: 'trapezoid' }, { compat: 'pair' }],
  ['integrated-gradients', { steps: 4 }, { compat: 'xplique' }],
  ['expected-gradients', { samples: 4 }, { samples: 5 }],
  ['expected-gradients', { samples: 4 }, { baselines: { noise: 0.5 } }],
  ['expected-gradients', { samples: 4, baselines: 'black' }, { baselines: 'blur' }],
  ['expected-gradients', { samples: 4, baselines: [0.5, 0.5, 0] }, { baselines: [0.5, [0.5, 0.5, 0]] }],
  ['expected-gradients', { samples: 4 }, { noise: 0.3 }],
  ['expected-gradients', { samples: 4 }, { seed: 1 }],
  ['expected-gradients', { samples: 4 }, { multiplyByInputs: false }],
  ['expected-gradients', { samples: 4 }, { channels: 'sum-abs' }],
  ['integrated-gradients', { steps: 4, quadrature: 'left' }, { quadrature: 'idgi' }],
  ['deeplift', {}, { baseline: 'blur' }],
  ['deeplift', {}, { channels: 'sum-abs' }],
  ['deeplift-shap', { samples: 3 }, { baselines: { noise: 0.5 } }],
  ['deeplift-shap', { samples: 3 }, { samples: 4 }],
  ['deeplift-shap', { samples: 3 }, { seed: 1 }],
  ['deeplift-shap', { samples: 3 }, { channels: 'sum-abs' }],
  ['blur-ig', { steps: 4, maxSigma: 8 }, { steps: 5 }],
  ['blur-ig', { steps: 4, maxSigma: 8 }, { maxSigma: 9 }],
  ['blur-ig', { steps: 4, maxSigma: 8 }, { quadrature: 'idgi' }],
  ['blur-ig', { steps: 4, maxSigma: 8 }, { channels: 'sum-abs' }],
  ['blur-ig', { steps: 4, maxSigma: 8 }, { compat: 'pair' }],
  ['xrai', FINE, { steps: 4 }],
  ['xrai', FINE, { baselines: ['black'] }],
  ['xrai', FINE, { baselines: 'range' }],
  ['xrai', FINE, { scales: [400] }],
  ['xrai', FINE, { smallest: 60 }],
  ['xrai', FINE, { dilation: 3 }],
  ['xrai', FINE, { leastAdded: 90 }],
  ['xrai', FINE, { areaThreshold: 0.1 }],
  ['xrai', FINE, { algorithm: 'fast' }],
  ['xrai', FINE, { channels: 'sum' }],
  ['guided-grad-cam', {}, { interpolation: 'nearest' }],
  ['guided-grad-cam', {}, { interpolation: 'bicubic' }],
  ['guided-grad-cam', {}, { channels: 'sum' }],
  ['guided-grad-cam', {}, { compat: 'captum' }],
  ['guided-grad-cam', {}, { compat: 'pytorch-grad-cam' }],
  ['occlusion', { window: 12, stride: 12 }, { window: 14 }],
  ['occlusion', { window: 12, stride: 12 }, { window: [12, 14] }],
  ['occlusion', { window: 12, stride: 12 }, { stride: 9 }],
  ['occlusion', { window: 12, stride: 12 }, { stride: [12, 7] }],
  ['occlusion', { window: 12, stride: 12 }, { baseline: 1 }],
  ['occlusion', { window: 12, stride: 9 }, { overlap: 'sum' }],
  ['occlusion', { window: 13, stride: 13 }, { edge: 'inside' }],
  ['occlusion', { window: 15, stride: 15 }, { compat: 'pair' }],
  ['occlusion', { stride: 8 }, { compat: 'xplique', window: 8 }],
  ['occlusion', { window: 24 }, { compat: 'captum' }],
  ['rise', { masks: 10 }, { masks: 11 }],
  ['rise', { masks: 10 }, { grid: 5 }],
  ['rise', { masks: 10 }, { grid: [7, 5] }],
  ['rise', { masks: 10 }, { probability: 0.3 }],
  ['rise', { masks: 10 }, { baseline: 'blur' }],
  ['rise', { masks: 10 }, { denominator: 'expected' }],
  ['rise', { masks: 10 }, { seed: 1 }],
  ['rise', { masks: 10 }, { compat: 'xplique' }],
  ['kernel-shap', FEW, { samples: 41 }],
  ['kernel-shap', FEW, { segments: 'patches' }],
  ['kernel-shap', { ...FEW, segments: 'patches' }, { grid: [2, 5] }],
  ['kernel-shap', FEW, { scale: 1000 }],
  ['kernel-shap', FEW, { smallest: 90 }],
  ['kernel-shap', FEW, { baseline: 'blur' }],
  ['kernel-shap', FEW, { seed: 1 }],
  ['lime', FEW, { samples: 41 }],
  ['lime', FEW, { segments: 'patches' }],
  ['lime', { ...FEW, segments: 'patches' }, { grid: [2, 5] }],
  ['lime', FEW, { scale: 1000 }],
  ['lime', FEW, { smallest: 90 }],
  ['lime', FEW, { baseline: 'blur' }],
  ['lime', FEW, { seed: 1 }],
  ['lime', FEW, { penalty: { ridge: 5 } }],
  ['lime', FEW, { distance: 'image' }],
  ['lime', FEW, { kernelWidth: 0.5 }],
  ['lime', FEW, { compat: 'captum', samples: 40, penalty: 'ridge', distance: 'segments', kernelWidth: 0.25 }],
];

describe('options', () => {
  let model: Model;
  const image = randomTensor(1, 32, 48, 3);
  const mapBy = async (method: GradientMethod, options: Options, seed = 0): Promise<Float32Array> =>
    (await explainWith(model, nudged(image, seed), method, options, { targets: [2] }))[0]!.maps[0]!.data;

  beforeAll(async () => {
    model = await loadSmall('timm-resnet-traced');
  });
  afterAll(() => model.close());

  it('are all in the table', () => {
    for (const [name, { options }] of Object.entries(GRADIENT_METHODS)) {
      const changed = new Set(
        CHANGES.filter(([method]) => method === name).flatMap(([, , change]) => Object.keys(change)),
      );
      expect(
        // PAIR's segments are of images of 224 pixels, which its parity test has.
        Object.keys(options.shape).filter(
          (option) => !changed.has(option) && !(name === 'xrai' && option === 'compat'),
        ),
        name,
      ).toEqual([]);
    }
  });

  it.each(CHANGES)('%s with %j: %j changes the map', async (method, around, change) => {
    const [before, after] = [await mapBy(method, around), await mapBy(method, { ...around, ...change })];
    expect(relativeDifference(after, before)).toBeGreaterThan(1e-3);
  });

  it('are reported as they took effect, peers’ defaults included', async () => {
    const settings = async (options: Options): Promise<unknown> =>
      (await explainWith(model, image, 'smooth-grad', options, { targets: [2] }))[0]!.options;
    expect(await settings({})).toEqual({
      samples: 50,
      noise: 0.15,
      noiseUnit: 'range',
      seed: 0,
      average: 'gradient',
      channels: 'sum-abs',
    });
    expect(await settings({ compat: 'captum', samples: 2 })).toEqual({
      samples: 2,
      noise: 1,
      noiseUnit: 'absolute',
      seed: 0,
      average: 'absolute',
      channels: 'sum',
      compat: 'captum',
    });
  });

  it('bounds its chunks by memory, and says how large they were, without another result', async () => {
    for (const [method, options] of [
      ['smooth-grad', { samples: 6 }],
      ['integrated-gradients', { steps: 6 }],
      ['expected-gradients', { samples: 6 }],
      ['deeplift-shap', { samples: 6 }],
      ['blur-ig', { steps: 6 }],
      ['occlusion', { window: 16, stride: 16 }],
      ['rise', { masks: 6 }],
    ] as const) {
      const explain = (seed = 0) =>
        explainWith(model, nudged(image, seed), method, options, { targets: [2], memory: 1 });
      const [[whole], [single]] = [await explainWith(model, image, method, options, { targets: [2] }), await explain()];
      expect(whole!.chunk).toBe(6);
      expect(single!.chunk).toBe(1);
      await expectRounded(single!.maps[0]!.data, whole!.maps[0]!.data, method, {
        model,
        again: async (seed) => (await explain(seed))[0]!.maps[0]!.data,
      });
    }
  });

  it('noise of level 0 is the gradient', async () => {
    const smooth = (seed?: number) => mapBy('smooth-grad', { noise: 0, samples: 2 }, seed);
    await expectRounded(await smooth(), await mapBy('gradient', { channels: 'sum-abs' }), 'smooth-grad', {
      model,
      again: smooth,
    });
  });

  it('black and white are what the card’s normalisation makes of them', async () => {
    await using shipped = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
    const { mean, std } = shipped.card.input;
    const picture = randomTensor(1, 224, 224);
    const occluded = async (baseline: unknown, seed = 0): Promise<Float32Array> =>
      (
        await explainWith(
          shipped,
          nudged(picture, seed),
          'occlusion',
          { window: 112, stride: 112, baseline },
          { targets: [2] },
        )
      )[0]!.maps[0]!.data;
    for (const [name, value] of [
      ['black', 0],
      ['white', 1],
    ] as const) {
      const byNumbers = await occluded(mean.map((part, channel) => (value - part) / std[channel]!));
      await expectRounded(await occluded(name), byNumbers, name, {
        model: shipped,
        again: (seed) => occluded(name, seed),
      });
    }
    expect(relativeDifference(await occluded('white'), await occluded('black'))).toBeGreaterThan(1e-3);
  });
});
