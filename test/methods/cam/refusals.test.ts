import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model } from '../../../lib/index.js';
import { loadSmall, plainCard, randomTensor } from '../../support/models.js';

/** Options that are wrong, and what the one sentence must say; `layer` is of the model's own. */
const WRONG: readonly (readonly [options: object, sentence: RegExp])[] = [
  [{ method: 'grad-cam', eigenSmoothing: 'yes' }, /eigenSmoothing of grad-cam is wrong: true or false is expected/],
  [{ method: 'grad-cam', compat: 'torch-cam' }, /compat of grad-cam is wrong: 'captum' is expected/],
  [{ method: 'grad-cam++', compat: 'captum' }, /'pytorch-grad-cam' or 'torch-cam' or 'xplique' is expected/],
  [{ method: 'hires-cam', compat: 'pytorch-grad-cam' }, /hires-cam has no option "compat"/],
  [{ method: 'eigen-cam', eigenSmoothing: true }, /eigen-cam has no option "eigenSmoothing"/],
  [{ method: 'layer-cam', gamma: -1 }, /gamma of layer-cam is wrong/],
  [{ method: 'finer-cam', references: 0 }, /references of finer-cam is wrong/],
  [{ method: 'finer-cam', strength: -0.5 }, /strength of finer-cam is wrong/],
  [
    { method: 'finer-cam', base: 'xgrad-cam' },
    /base of finer-cam is wrong: 'grad-cam', 'grad-cam\+\+' or 'layer-cam' is expected/,
  ],
  [{ method: 'finer-cam', score: 'probability' }, /finer-cam compares logits.*leave `score` out/],
  [{ method: 'shapley-cam', utility: 'logit' }, /'rest' or 'score' is expected/],
  [{ method: 'fem', sigmas: -2 }, /sigmas of fem is wrong/],
  [{ method: 'fem', score: 'probability' }, /fem explains no score/],
  [{ method: 'random-cam', seed: 1.5 }, /seed of random-cam is wrong/],
  [{ method: 'full-grad', layer: 'layer4' }, /full-grad has no option "layer"/],
  [{ method: 'cam', layer: 'layer3' }, /cam explains the pooled feature "layer4" only, not "layer3"/],
];

describe('refused in one sentence, before anything is computed', () => {
  let model: Model;
  const image = randomTensor(1, 32, 48);

  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());

  it.each(WRONG.map(([options, sentence]) => [JSON.stringify(options), options, sentence] as const))(
    '%s',
    async (_, options, sentence) => {
      await expect(model.explain(image, options as never)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(sentence),
      });
    },
  );

  it.each([
    'grad-cam++',
    'hires-cam',
    'elementwise-grad-cam',
    'xgrad-cam',
    'layer-cam',
    'eigen-cam',
    'eigen-grad-cam',
    'kpca-cam',
    'shapley-cam',
    'finer-cam',
    'fem',
    'random-cam',
  ] as const)('%s of a layer without space', async (method) => {
    await expect(model.explain(image, { method, layer: 'fc' })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringMatching(/"fc" has no spatial axes/),
    });
    await expect(model.explain(image, { method, layer: 'layer5' })).rejects.toMatchObject({
      code: 'UNKNOWN_NODE',
      message: expect.stringMatching(/no layer "layer5"/),
    });
  });
});

describe('models that a method cannot explain', () => {
  it('full-grad: attention', async () => {
    await using model = await loadSmall('timm-vit-fused-traced');
    await expect(model.explain(randomTensor(1, 24, 40), { method: 'full-grad' })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringMatching(/it has attention/),
    });
  });

  it('full-grad: no biases; cam: no linear head', async () => {
    const archive = fileURLToPath(new URL('../../parity/methods/cam-hand.pt', import.meta.url));
    await using model = await Model.load(archive, { device: 'cpu', card: plainCard(2, 2) });
    await expect(model.explain(randomTensor(1, 2, 2), { method: 'full-grad' })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringMatching(/no convolution or batch norm with a bias/),
    });
    await expect(model.explain(randomTensor(1, 2, 2), { method: 'cam' })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
    });
  });

  it.each([
    'grad-cam++',
    'hires-cam',
    'layer-cam',
    'eigen-grad-cam',
    'shapley-cam',
    'finer-cam',
    'full-grad',
    'eigen-cam',
    'kpca-cam',
    'fem',
    'random-cam',
  ] as const)('%s: quantised weights', async (method) => {
    await using model = await loadSmall('quantised-static');
    await expect(model.explain(randomTensor(1, 32, 48), { method })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringMatching(/quantized/),
    });
  });
});
