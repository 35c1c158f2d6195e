import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { SightlineError, type Model } from '../../../lib/index.js';
import { loadSmall, randomTensor } from '../../support/models.js';
import { explainWith, loadNet, type GradientMethod } from './support.js';

const REFUSALS: readonly (readonly [GradientMethod, Readonly<Record<string, unknown>>, RegExp])[] = [
  ['gradient', { channels: 'median' }, /^The option channels of gradient is wrong: one of max-abs, .* is expected\.$/],
  ['gradient', { steps: 5 }, /^gradient has no option "steps"; its own are channels\.$/],
  ['input-x-gradient', { baseline: 'zero' }, /^input-x-gradient has no option "baseline"/],
  [
    'smooth-grad',
    { samples: 0 },
    /^The option samples of smooth-grad is wrong: a whole number from 1 to 100000 is expected\.$/,
  ],
  ['smooth-grad', { samples: 2.5 }, /samples of smooth-grad is wrong: a whole number/],
  ['smooth-grad', { noise: -0.1 }, /^The option noise of smooth-grad is wrong: a number of at least 0 is expected\.$/],
  ['smooth-grad', { noiseUnit: 'percent' }, /noiseUnit of smooth-grad is wrong: 'range' or 'absolute'/],
  ['smooth-grad', { seed: -1 }, /seed of smooth-grad is wrong: a whole number from 0/],
  ['smooth-grad', { average: 'median' }, /average of smooth-grad is wrong/],
  [
    'smooth-grad',
    { compat: 'torch-cam' },
    /^The option compat of smooth-grad is wrong: 'captum' or 'xplique' or 'pair' is expected; leave it out for the paper's definition\.$/,
  ],
  [
    'smooth-grad',
    { smaples: 3 },
    /^smooth-grad has no option "smaples"; its own are samples, noise, noiseUnit, seed, average, channels, compat\.$/,
  ],
  [
    'var-grad',
    { samples: 1 },
    /^The option samples of var-grad is wrong: a whole number from 2 to 100000 is expected\.$/,
  ],
  [
    'integrated-gradients',
    { steps: 0 },
    /^The option steps of integrated-gradients is wrong: a whole number from 1 to 100000 is expected\.$/,
  ],
  [
    'integrated-gradients',
    { quadrature: 'trapezoid', steps: 1 },
    /^The quadrature 'trapezoid' of integrated-gradients needs at least 2 steps, not 1\.$/,
  ],
  [
    'integrated-gradients',
    { quadrature: 'simpson' },
    /quadrature of integrated-gradients is wrong: one of gauss-legendre/,
  ],
  [
    'integrated-gradients',
    { baseline: 'noise' },
    /^The option baseline of integrated-gradients is wrong: 'zero', 'black', 'white', 'blur', .* is expected\.$/,
  ],
  ['integrated-gradients', { baseline: [0, 0] }, /The baseline has 2 numbers, but the model.s images have 3 channels/],
  [
    'integrated-gradients',
    { baseline: { blur: 0 } },
    /^The option baseline\.blur of integrated-gradients is wrong: .*pixels above 0/,
  ],
  ['expected-gradients', { samples: 0 }, /samples of expected-gradients is wrong: a whole number from 1 to 100000/],
  [
    'expected-gradients',
    { baselines: 'gray' },
    /^The option baselines of expected-gradients is wrong: 'zero', .*\{ noise: .*\{ data: Float32Array, shape \} is expected\.$/,
  ],
  ['expected-gradients', { baselines: { noise: -1 } }, /baselines.* of expected-gradients is wrong: .*at least 0/],
  ['expected-gradients', { baselines: [] }, /baselines of expected-gradients is wrong/],
  [
    'expected-gradients',
    { baselines: ['zero', 'gray'] },
    /baselines.* of expected-gradients is wrong: 'zero', 'black'/,
  ],
  [
    'expected-gradients',
    { baselines: ['zero', [0, 0]] },
    /The baseline has 2 numbers, but the model.s images have 3 channels/,
  ],
  [
    'expected-gradients',
    { baselines: { data: [0, 0], shape: [1, 3, 32, 48] } },
    /baselines.* of expected-gradients is wrong: .*Float32Array/,
  ],
  [
    'expected-gradients',
    { baselines: { data: new Float32Array(3 * 32 * 32), shape: [1, 3, 32, 32] } },
    /^The baselines have the shape \[1, 3, 32, 32\], but the model's images ask for \[images, 3, 32, 48\]; preprocess them as the images are\.$/,
  ],
  [
    'expected-gradients',
    { baselines: { data: new Float32Array(0), shape: [0, 3, 32, 48] } },
    /have the shape \[0, 3, 32, 48\]/,
  ],
  [
    'expected-gradients',
    { baselines: { data: new Float32Array(3 * 32 * 48), shape: [2, 3, 32, 48] } },
    /^The baselines hold 4608 values, but their shape \[2, 3, 32, 48\] asks for 9216; give as many\.$/,
  ],
  [
    'expected-gradients',
    { baselines: { data: new Float32Array(3 * 32 * 48).fill(NaN), shape: [1, 3, 32, 48] } },
    /^The baselines hold values that are not finite; give numbers alone\.$/,
  ],
  [
    'integrated-gradients',
    { quadrature: 'idgi', multiplyByInputs: false },
    /^The quadrature 'idgi' of integrated-gradients .*multiplyByInputs: false would do nothing; leave it out\.$/,
  ],
  ['blur-ig', { steps: 0 }, /steps of blur-ig is wrong: a whole number from 1 to 100000/],
  [
    'blur-ig',
    { maxSigma: 0 },
    /^The option maxSigma of blur-ig is wrong: a number of pixels above 0, at most 16384, is expected\.$/,
  ],
  ['blur-ig', { maxSigma: 1e6 }, /maxSigma of blur-ig is wrong/],
  ['blur-ig', { quadrature: 'left' }, /^The option quadrature of blur-ig is wrong: 'middle' or 'idgi' is expected\.$/],
  [
    'blur-ig',
    { quadrature: 'idgi', compat: 'pair' },
    /^blur-ig as pair has it knows no quadrature 'idgi'; leave out `quadrature` or `compat`\.$/,
  ],
  ['guided-grad-cam', { interpolation: 'cubic' }, /interpolation of guided-grad-cam is wrong/],
  [
    'occlusion',
    { window: 0 },
    /^The option window of occlusion is wrong: a whole number from 1 to 16384 is expected, or two/,
  ],
  ['occlusion', { window: [4, 4, 4] }, /window of occlusion is wrong/],
  [
    'occlusion',
    { window: [33, 10] },
    /^The window of occlusion, 33 x 10 pixels, is larger than the model's input of 32 x 48; choose a smaller one\.$/,
  ],
  ['occlusion', { stride: 0 }, /stride of occlusion is wrong/],
  [
    'occlusion',
    { window: 6, stride: 7 },
    /^The stride of occlusion, 7 x 7 pixels, leaves gaps between windows of 6 x 6; make it no larger than the window\.$/,
  ],
  ['occlusion', { overlap: 'max' }, /overlap of occlusion is wrong/],
  ['rise', { masks: 0 }, /masks of rise is wrong: a whole number from 1 to 100000/],
  ['rise', { probability: 0 }, /^The option probability of rise is wrong: a number above 0 and below 1 is expected\.$/],
  ['rise', { probability: 1 }, /probability of rise is wrong/],
  ['rise', { grid: [7, 0] }, /^The option grid\.1 of rise is wrong: a whole number from 1 to 16384/],
  [
    'rise',
    { grid: 40 },
    /^The grid of rise, 40 x 40 cells, is finer than the model's input of 32 x 48 pixels; choose a coarser one\.$/,
  ],
];

describe('bad input is refused in one sentence', () => {
  let model: Model;
  const image = randomTensor(1, 32, 48);

  beforeAll(async () => {
    model = await loadSmall('timm-resnet-traced');
  });
  afterAll(() => model.close());

  it.each(REFUSALS)('%s with %j', async (method, options, sentence) => {
    const error = await explainWith(model, image, method, options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SightlineError);
    expect((error as SightlineError).code).toBe('INVALID_OPTION');
    expect((error as SightlineError).message).toMatch(sentence);
  });
});

describe('models that a method cannot explain', () => {
  it.each(['guided-backprop', 'deconvnet'] as const)(
    '%s: no activation, whose gradients it changes',
    async (method) => {
      await using model = await loadNet('linear');
      await expect(explainWith(model, randomTensor(1, 4, 6), method)).rejects.toMatchObject({
        code: 'METHOD_NOT_APPLICABLE',
        message: expect.stringMatching(/changes nothing here: the model has no rectifier/) as string,
      });
    },
  );

  it.each([
    'gradient',
    'input-x-gradient',
    'smooth-grad',
    'var-grad',
    'integrated-gradients',
    'expected-gradients',
    'blur-ig',
    'deeplift',
    'deeplift-shap',
    'guided-backprop',
    'guided-grad-cam',
    'deconvnet',
  ] as const)('%s: quantised weights', async (method) => {
    await using model = await loadSmall('quantised-static');
    await expect(explainWith(model, randomTensor(1, 32, 48), method)).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringMatching(/quantized operators have no gradients/) as string,
    });
  });

  it.each([
    ['occlusion', { window: 16, stride: 8 }],
    ['rise', { masks: 20 }],
  ] as const)('%s needs no gradients, so it explains quantised models', async (method, options) => {
    await using model = await loadSmall('quantised-static');
    const [explained] = await explainWith(model, randomTensor(1, 32, 48), method, options);
    expect(explained!.maps[0]!.state).toBe('ok');
  });
});
