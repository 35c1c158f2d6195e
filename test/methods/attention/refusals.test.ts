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
const FAMILY = [
  'raw-attention',
  'attention-rollout',
  'gradient-rollout',
  'gae',
  'attention-flow',
  'attention-norms',
  'value-zeroing',
  'le-grad',
] as const;

const REFUSALS: readonly Refusal[] = [
  ...FAMILY.map((method): Refusal => [
    'torchvision-resnet-traced',
    { method },
    'METHOD_NOT_APPLICABLE',
    /it has no attention/,
  ]),
  ...FAMILY.map((method): Refusal => [
    'timm-swin-traced',
    { method },
    'METHOD_NOT_APPLICABLE',
    /its attention is windowed, so no token sees the whole image/,
  ]),
  [
    VIT,
    { method: 'attention-rollout', discardRatio: 1.2 },
    'INVALID_OPTION',
    /discardRatio of attention-rollout is wrong: it must be below 1/,
  ],
  [
    VIT,
    { method: 'gradient-rollout', discardRatio: -0.1 },
    'INVALID_OPTION',
    /discardRatio of gradient-rollout is wrong: it must be at least 0/,
  ],
  [
    VIT,
    { method: 'attention-rollout', residualWeight: 1 },
    'INVALID_OPTION',
    /residualWeight of attention-rollout is wrong: it must be below 1/,
  ],
  [
    VIT,
    { method: 'attention-rollout', residualWeight: 'half' },
    'INVALID_OPTION',
    /residualWeight of attention-rollout is wrong: give a number of at least 0 and below 1/,
  ],
  [
    VIT,
    { method: 'attention-rollout', headFusion: 'median' },
    'INVALID_OPTION',
    /headFusion of attention-rollout is wrong: give mean, max, min or the number of one head, from 0/,
  ],
  [
    VIT,
    { method: 'attention-rollout', headFusion: 3 },
    'INVALID_OPTION',
    /headFusion is 3, but the attention has 3 heads, numbered from 0/,
  ],
  [
    VIT,
    { method: 'gradient-rollout', headFusion: 'mean' },
    'INVALID_OPTION',
    /headFusion of gradient-rollout is wrong: give positive-part, gradient-weighted, grad-cam, max, min, gradient-l1, gradient-l2 or/,
  ],
  [
    VIT,
    { method: 'gradient-rollout', headFusion: 9 },
    'INVALID_OPTION',
    /headFusion is 9, but the attention has 3 heads/,
  ],
  [
    VIT,
    { method: 'attention-rollout', startBlock: 2 },
    'INVALID_OPTION',
    /startBlock is 2, but the model has 2 attention blocks, numbered from 0/,
  ],
  [VIT, { method: 'gae', endBlock: -3 }, 'INVALID_OPTION', /endBlock is -3, but the model has 2 attention blocks/],
  [
    VIT,
    { method: 'attention-flow', startBlock: 1, endBlock: 0 },
    'INVALID_OPTION',
    /endBlock is 0, which lies before startBlock 1/,
  ],
  [
    VIT,
    { method: 'attention-rollout', startBlock: 0.5 },
    'INVALID_OPTION',
    /startBlock of attention-rollout is wrong: give the number of a block/,
  ],
  [VIT, { method: 'raw-attention', block: 2 }, 'INVALID_OPTION', /block is 2, but the model has 2 attention blocks/],
  [
    VIT,
    { method: 'raw-attention', row: 99 },
    'INVALID_OPTION',
    /row is 99, but the model has 16 tokens, numbered from 0/,
  ],
  [
    VIT,
    { method: 'attention-rollout', row: 'distillation-token' },
    'INVALID_OPTION',
    /row is distillation-token, but the model has 1 tokens? before its patches/,
  ],
  [
    'timm-vit-average-traced',
    { method: 'attention-flow', row: 'class-token' },
    'INVALID_OPTION',
    /row is class-token, but the model classifies the mean of its patches/,
  ],
  [
    VIT,
    { method: 'attention-rollout', preset: 'unknown' },
    'INVALID_OPTION',
    /there is no preset "unknown"; give abnar-2020, mmeendez8, chefer-2021-rollout, vit-explain/,
  ],
  [
    VIT,
    { method: 'attention-rollout', compat: 'captum' },
    'INVALID_OPTION',
    /compat of attention-rollout is wrong: 'vit-explain' is expected; leave it out/,
  ],
  [
    VIT,
    { method: 'attention-rollout', compat: 'vit-explain', residualWeight: 0 },
    'INVALID_OPTION',
    /compat 'vit-explain' fixes residualWeight/,
  ],
  [
    VIT,
    { method: 'gradient-rollout', compat: 'vit-explain', combine: 'sum' },
    'INVALID_OPTION',
    /compat 'vit-explain' fixes residualWeight/,
  ],
  [
    VIT,
    { method: 'attention-norms', variant: '2022' },
    'INVALID_OPTION',
    /variant of attention-norms is wrong: give 2020, residual, residual-norm/,
  ],
  [
    VIT,
    { method: 'attention-norms', rollout: true, block: 0 },
    'INVALID_OPTION',
    /block names one block, which rollout does not take/,
  ],
  [VIT, { method: 'value-zeroing', startBlock: 0 }, 'INVALID_OPTION', /startBlock and endBlock are for rollout/],
  [
    VIT,
    { method: 'value-zeroing', rollout: 'yes' },
    'INVALID_OPTION',
    /rollout of value-zeroing is wrong: true or false is expected/,
  ],
  [
    VIT,
    { method: 'le-grad', pooling: 'max' },
    'INVALID_OPTION',
    /pooling of le-grad is wrong: 'mean' or 'model' is expected/,
  ],
  [
    VIT,
    { method: 'le-grad', headFusion: 'max' },
    'INVALID_OPTION',
    /le-grad has no option "headFusion"; its own are pooling, startBlock, endBlock/,
  ],
  [
    VIT,
    { method: 'gae', discardRatio: 0.5 },
    'INVALID_OPTION',
    /gae has no option "discardRatio"; its own are preset, headFusion, startBlock, endBlock, row/,
  ],
];

describe('refusals of the family', () => {
  it.each(REFUSALS)('%s %j: %s', async (archive, options, code, message) => {
    await using model = await loadSmall(archive);
    const [height, width] = archive.startsWith('torchvision-resnet') ? [32, 48] : [24, 40];
    const error = await model
      .explain(randomTensor(1, height, width), options as unknown as ExplainOptions)
      .catch((reason: unknown) => reason as Error);
    expect(error).toMatchObject({ code });
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message.split('\n')).toHaveLength(1);
  });
});
