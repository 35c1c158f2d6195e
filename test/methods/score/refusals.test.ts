import { afterAll, beforeAll, expect, it } from 'vitest';

import type { Model } from '../../../lib/index.js';
import { loadSmall, randomTensor } from '../../support/models.js';

let resnet: Model;
let vit: Model;
beforeAll(async () => {
  [resnet, vit] = [await loadSmall('torchvision-resnet-traced'), await loadSmall('timm-vit-fused-traced')];
});
afterAll(async () => {
  await Promise.all([resnet.close(), vit.close()]);
});

const REFUSED: readonly (readonly [options: Record<string, unknown>, code: string, message: RegExp])[] = [
  [
    { method: 'ss-cam', samples: 0 },
    'INVALID_OPTION',
    /^The option samples of ss-cam is wrong: a whole number from 1 to 100000 is expected\.$/,
  ],
  [
    { method: 'ss-cam', samples: 2.5 },
    'INVALID_OPTION',
    /^The option samples of ss-cam is wrong: a whole number from 1 to 100000 is expected\.$/,
  ],
  [
    { method: 'ss-cam', noise: -1 },
    'INVALID_OPTION',
    /^The option noise of ss-cam is wrong: a number of at least 0 is expected\.$/,
  ],
  [
    { method: 'ss-cam', noiseOn: 'weights' },
    'INVALID_OPTION',
    /^The option noiseOn of ss-cam is wrong: 'mask' or 'input' is expected\.$/,
  ],
  [
    { method: 'ss-cam', compat: 'captum' },
    'INVALID_OPTION',
    /^The option compat of ss-cam is wrong: 'torch-cam' is expected; leave it out for the paper's definition\.$/,
  ],
  [
    { method: 'ss-cam', noiseOn: 'input', compat: 'torch-cam' },
    'INVALID_OPTION',
    /^ss-cam as torch-cam has it adds noise to the mask only; leave out `noiseOn` or `compat`\.$/,
  ],
  [
    { method: 'is-cam', steps: 0 },
    'INVALID_OPTION',
    /^The option steps of is-cam is wrong: a whole number from 1 to 100000 is expected\.$/,
  ],
  [
    { method: 'smooth-grad-cam++', seed: -3 },
    'INVALID_OPTION',
    /^The option seed of smooth-grad-cam\+\+ is wrong: a whole number from 0 to 2147483647 is expected\.$/,
  ],
  [
    { method: 'score-cam', samples: 3 },
    'INVALID_OPTION',
    /^score-cam has no option "samples"; its own are eigenSmoothing, compat\.$/,
  ],
  [{ method: 'score-cam', layer: 'avgpool' }, 'METHOD_NOT_APPLICABLE', /^The layer "avgpool" has no spatial axes/],
  [{ method: 'ablation-cam', layer: 'fc' }, 'METHOD_NOT_APPLICABLE', /^The layer "fc" has no spatial axes/],
  [{ method: 'ablation-cam', layer: 'layer9' }, 'UNKNOWN_NODE', /^The model has no layer "layer9"\./],
  [
    { method: 'deep-feature-factorization', components: 25, layer: 'layer4' },
    'INVALID_OPTION',
    /^deep-feature-factorization finds at most as many concepts as "layer4" has places, 24, not 25; ask for fewer components\.$/,
  ],
  [
    { method: 'deep-feature-factorization', components: 0 },
    'INVALID_OPTION',
    /^The option components of deep-feature-factorization is wrong: a whole number from 1 to 1000 is expected\.$/,
  ],
  [{ method: 'deep-feature-factorization', score: 'probability' }, 'INVALID_OPTION', /explains no score/],
  [{ method: 'vit-cx' }, 'METHOD_NOT_APPLICABLE', /^vit-cx cannot explain .*: it has no attention\.$/],
];

it.each(REFUSED)('%j is refused with %s', async (options, code, message) => {
  const error: unknown = await resnet
    .explain(randomTensor(1, 32, 48), options as never)
    .catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code, message: expect.stringMatching(message) as unknown });
});

it.each([
  [
    { method: 'vit-cx', distanceThreshold: 0 },
    /^The option distanceThreshold of vit-cx is wrong: a distance above 0 is expected\.$/,
  ],
  [
    { method: 'vit-cx', distanceThreshold: 1.5 },
    /^The option distanceThreshold of vit-cx is wrong: masks lie at most 1 apart\.$/,
  ],
  [{ method: 'vit-cx', noise: '0.1' }, /^The option noise of vit-cx is wrong: a number of at least 0 is expected\.$/],
])('%j is refused', async (options, message) => {
  await expect(vit.explain(randomTensor(1, 24, 40), options as never)).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringMatching(message) as unknown,
  });
});
