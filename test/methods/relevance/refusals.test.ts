import { describe, expect, it } from 'vitest';

import type { ExplainOptions } from '../../../lib/index.js';
import { loadSmall, randomTensor } from '../../support/models.js';

type Refusal = readonly [
  archive: string,
  options: Record<string, unknown> & { method: string },
  code: 'INVALID_OPTION' | 'METHOD_NOT_APPLICABLE',
  message: RegExp,
];

const VIT = 'timm-vit-fused-traced';
const FAMILY = ['transformer-attribution', 'attn-lrp', 'cp-lrp'] as const;

const REFUSALS: readonly Refusal[] = [
  ...FAMILY.map((method): Refusal => [
    'torchvision-resnet-traced',
    { method },
    'METHOD_NOT_APPLICABLE',
    /it has no attention/,
  ]),
  [
    'timm-swin-traced',
    { method: 'transformer-attribution' },
    'METHOD_NOT_APPLICABLE',
    /its attention is windowed, so no token sees the whole image/,
  ],
  [
    VIT,
    { method: 'transformer-attribution', preset: 'chefer-2021' },
    'INVALID_OPTION',
    /there is no preset "chefer-2021"; give chefer-2021-notebook, chefer-2021-evaluation/,
  ],
  [
    VIT,
    { method: 'transformer-attribution', startBlock: 2 },
    'INVALID_OPTION',
    /startBlock is 2, but the model has 2 attention blocks, numbered from 0/,
  ],
  [
    VIT,
    { method: 'transformer-attribution', startBlock: 1, endBlock: 0 },
    'INVALID_OPTION',
    /endBlock is 0, which lies before startBlock 1/,
  ],
  [
    VIT,
    { method: 'transformer-attribution', row: 99 },
    'INVALID_OPTION',
    /row is 99, but the model has 16 tokens, numbered from 0/,
  ],
  [
    VIT,
    { method: 'transformer-attribution', headFusion: 'max' },
    'INVALID_OPTION',
    /transformer-attribution has no option "headFusion"; its own are preset, startBlock, endBlock, row/,
  ],
  [
    VIT,
    { method: 'attn-lrp', linearGamma: -0.1 },
    'INVALID_OPTION',
    /linearGamma of attn-lrp is wrong: give a number of at least 0/,
  ],
  [
    VIT,
    { method: 'cp-lrp', convGamma: 'large' },
    'INVALID_OPTION',
    /convGamma of cp-lrp is wrong: give a number of at least 0/,
  ],
  [
    VIT,
    { method: 'cp-lrp', gamma: 1 },
    'INVALID_OPTION',
    /cp-lrp has no option "gamma"; its own are linearGamma, convGamma/,
  ],
];

describe('what the relevance methods refuse, in one sentence', () => {
  it.each(REFUSALS.map((refusal) => [refusal[0], JSON.stringify(refusal[1]), refusal] as const))(
    '%s: %s',
    async (archive, _, [, options, code, message]) => {
      await using model = await loadSmall(archive);
      const size: readonly [number, number] = archive.startsWith('torchvision-resnet')
        ? [32, 48]
        : archive.startsWith('timm')
          ? [24, 40]
          : [64, 64];
      const refused = expect(model.explain(randomTensor(1, ...size), options as unknown as ExplainOptions)).rejects;
      await refused.toMatchObject({ code, message: expect.stringMatching(message) as string });
    },
  );
});
