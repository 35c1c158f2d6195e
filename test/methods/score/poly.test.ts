import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, symbolic, type ExplainOptions, type Inspection } from '../../../lib/index.js';
import { stagesBefore } from '../../../lib/methods/cam/stages.js';
import type { Run } from '../../../lib/symbolic/index.js';
import { loadSmall, pixelsOf, plainCard, randomTensor } from '../../support/models.js';
import { expectRounded, expectWithin, nudged } from '../../support/rounding.js';
import { readSafetensors } from '../../support/safetensors.js';
import { part, subject, type Subject } from './reference.js';

/** What each map of test/parity/methods/poly.py is called there, and what it is here. */
const MAPS: readonly (readonly [key: string, options: object])[] = [
  ['poly-cam', {}],
  ['poly-cam.kept', { weights: 'kept' }],
  ['poly-cam.removed', { weights: 'removed' }],
  ['poly-cam.two', { stages: 2 }],
  ['poly-cam.logit', { score: (run: Run) => run.model.scoreIn(run.logits) }],
];

describe.each([
  ['resnet-tiny-shapes', 1],
  ['torchvision-resnet-traced', 5],
  ['torchvision-resnet-basic-scripted', 5],
  ['timm-swin-traced', 5],
] as const)('%s', (name, count) => {
  const reference = readSafetensors(new URL(`../../parity/methods/poly-${name}.safetensors`, import.meta.url));
  let from: Subject;

  beforeAll(async () => {
    from = await subject(name);
  });
  afterAll(() => Promise.all([from.model.close(), from.asExported.close()]));

  it('is asked about every map', () => {
    expect([...reference.keys()].sort()).toEqual(
      MAPS.slice(0, count)
        .map(([key]) => key)
        .sort(),
    );
  });

  it.each(MAPS.slice(0, count))('%s', async (key, options) => {
    const request = { method: 'poly-cam', ...options, ...from.common, size: 'grid', raw: true } as ExplainOptions;
    const explained = await from.model.explain(from.images, request);
    for (const [i, { maps }] of explained.entries()) {
      const theirs = part({ ...from, reference }, key, i);
      // Where no mask lowers the probability, nothing is lost.
      if (key !== 'poly-cam.removed') expect(Math.max(...theirs) - Math.min(...theirs)).toBeGreaterThan(0);
      await expectRounded(maps[0]!.data, theirs, `${name} ${key}, image ${i}`, {
        model: from.model,
        promised: 1e-4,
        again: async (seed) => {
          const pixels = nudged(await pixelsOf(from.model, from.images[i]!), seed);
          return (await from.model.explain(pixels, { ...request, targets: from.common.targets[i]! }))[0]!.maps[0]!.data;
        },
      });
    }
  });
});

describe('the layers that are joined', () => {
  const inspected = async (name: string): Promise<Inspection> => {
    await using model = name.endsWith('-lite0') ? await Model.load(name) : await loadSmall(name);
    return await model.inspect();
  };

  it.each([
    ['torchvision-resnet-traced', 'layer4', ['layer4', 'layer1', 'relu']],
    ['torchvision-resnet-basic-scripted', 'layer4', ['layer4', 'layer3', 'layer2', 'layer1', 'relu']],
    ['torchvision-resnet-basic-scripted', 'layer2', ['layer2', 'layer1', 'relu']],
    ['torchvision-resnet-basic-scripted', 'layer2.0', ['layer2.0', 'layer1', 'relu']],
    ['torchvision-resnet-frozen', 'relu[15]', ['relu[15]', 'relu[4]', 'relu[0]']],
    ['transformers-resnet-traced', 'resnet.encoder', [2, 1, 0].map((stage) => `resnet.encoder.stages.${stage}`)],
    ['efficientnet-lite0', 'last_conv', ['last_conv', 'blocks.10', 'blocks.4', 'blocks.2', 'blocks.0']],
  ])('%s, from %s', async (name, layer, expected) => {
    const stages = stagesBefore(await inspected(name), layer);
    expect(stages).toEqual(expected[0] === layer ? expected : [layer, ...expected]);
  });

  it("are torchvision's four stages and the first ReLU of ResNet50", () => {
    const inspection = JSON.parse(
      readFileSync(new URL('../../../bench/passes/resnet50.json', import.meta.url), 'utf8'),
    ) as Inspection;
    expect(stagesBefore(inspection, 'layer4')).toEqual(['layer4', 'layer3', 'layer2', 'layer1', 'relu']);
  });
});

describe('by hand, on two channels of 2 x 2 places', () => {
  const [red, green] = [
    [1, 2, 3, 4],
    [0, 4, 0, 0],
  ] as const;
  const image = { data: Float32Array.from([...red, ...green, 0, 0, 0, 0]), shape: [1, 3, 2, 2] };
  /** The logit of class 0, mean red + 2 mean green + 1, of the image seen through a mask. */
  const score = (mask: readonly number[]): number =>
    mask.reduce((total, kept, at) => total + kept * (red[at]! + 2 * green[at]!), 0) / 4 + 1;
  const masks = [
    [0, 1 / 3, 2 / 3, 1],
    [0, 1, 0, 0],
  ] as const;
  const removed = (mask: readonly number[]): number => score([1, 1, 1, 1]) - score(mask.map((kept) => 1 - kept));

  it.each([
    ['kept', (mask: readonly number[]): number => score(mask)],
    ['removed', removed],
    ['both', (mask: readonly number[]): number => score(mask) + removed(mask)],
  ] as const)('weights: %s', async (weights, weightOf) => {
    await using model = await Model.load(
      fileURLToPath(new URL('../../parity/methods/score-two-by-two.pt', import.meta.url)),
      { device: 'cpu', card: plainCard(2, 2) },
    );
    const [explained] = await model.explain([image], {
      method: 'poly-cam',
      weights,
      layer: 'relu',
      score: ({ logits }) => symbolic.select(logits, 'classes', 0),
      size: 'grid',
      raw: true,
    });
    const [ofRed, ofGreen] = masks.map((mask) => weightOf(mask)) as [number, number];
    // Three scores of at most 5.5, each rounded fifteen times, times activations up to 4; two products and a sum.
    expectWithin(
      explained!.maps[0]!.data,
      red.map((value, i) => ofRed * value + ofGreen * green[i]!),
      3 * 15 + 3,
      5.5 * 8,
    );
  });
});

describe('refused in one sentence', () => {
  it.each([
    [
      'torchvision-resnet-traced',
      { weights: 'plus' },
      'INVALID_OPTION',
      /^The option weights of poly-cam is wrong: 'kept', 'removed' or 'both' is expected\.$/,
    ],
    [
      'torchvision-resnet-traced',
      { stages: 0 },
      'INVALID_OPTION',
      /^The option stages of poly-cam is wrong: a whole number from 1 to 16 is expected\.$/,
    ],
    ['torchvision-resnet-traced', { layer: 'avgpool' }, 'METHOD_NOT_APPLICABLE', /"avgpool" has no spatial axes/],
    ['torchvision-resnet-traced', { layer: 'fc' }, 'METHOD_NOT_APPLICABLE', /"fc" has no/],
    ['torchvision-resnet-traced', { layer: 'layer9' }, 'UNKNOWN_NODE', /no layer "layer9"/],
    [
      'timm-vit-fused-traced',
      {},
      'METHOD_NOT_APPLICABLE',
      /^poly-cam cannot explain .*: "blocks\.1\.norm1" has tokens, whose grid is the same from the first layer to the last\.$/,
    ],
  ] as const)('%s: %j', async (archive, options, code, message) => {
    await using model = await loadSmall(archive);
    const [height, width] = archive.startsWith('timm') ? [24, 40] : [32, 48];
    await expect(
      model.explain(randomTensor(1, height, width), { method: 'poly-cam', ...options } as never),
    ).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });
});
