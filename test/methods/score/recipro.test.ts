import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type MethodName, type NamedOptions } from '../../../lib/index.js';
import { loadSmall, pixelsOf, plainCard, randomTensor } from '../../support/models.js';
import { expectRounded, expectWithin, nudged } from '../../support/rounding.js';
import { readSafetensors } from '../../support/safetensors.js';
import { part, SHIPPED, SMALL, subject, type Subject } from './reference.js';

type Options = NamedOptions<MethodName>;

/** What each map of test/parity/methods/recipro.py is called there, and what it is here. */
const MAPS: readonly (readonly [key: string, options: Options])[] = [
  ['recipro-cam', { method: 'recipro-cam' }],
  ['recipro-cam.openvino', { method: 'recipro-cam' }],
  ['recipro-cam.gaussian', { method: 'recipro-cam', kernel: 'gaussian' }],
  ['vit-recipro-cam', { method: 'vit-recipro-cam' }],
  ['vit-recipro-cam.openvino', { method: 'vit-recipro-cam' }],
  ['vit-recipro-cam.single', { method: 'vit-recipro-cam', kernel: 'single' }],
  ['vit-recipro-cam.single.openvino', { method: 'vit-recipro-cam', kernel: 'single' }],
  ['vit-recipro-cam.patches', { method: 'vit-recipro-cam', classToken: false }],
  ['vit-recipro-cam.patches.openvino', { method: 'vit-recipro-cam', classToken: false }],
];

/** A map without its mean: where most of a score is the same at all places, that would hide what differs. */
function varying(map: ArrayLike<number>): number[] {
  const values = Array.from(map);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

describe.each([...SHIPPED, ...SMALL])('%s', (name) => {
  const reference = readSafetensors(new URL(`../../parity/methods/recipro-${name}.safetensors`, import.meta.url));
  let from: Subject;

  beforeAll(async () => {
    from = await subject(name);
  });
  afterAll(() => Promise.all([from.model.close(), from.asExported.close()]));

  it('is asked about every map', () => {
    const known = MAPS.map(([key]) => key);
    expect([...reference.keys()].filter((key) => !known.includes(key))).toEqual([]);
    expect(reference.size).toBeGreaterThanOrEqual(2);
  });

  it.each(MAPS.filter(([key]) => reference.has(key)))('%s', async (key, options) => {
    const request = { ...options, ...from.common, size: 'grid', raw: true } as Options;
    const explained = await from.model.explain(from.images, request);
    for (const [i, { maps }] of explained.entries()) {
      const theirs = part({ ...from, reference }, key, i);
      expect(Math.max(...theirs) - Math.min(...theirs)).toBeGreaterThan(0);
      const again = async (seed: number): Promise<Float32Array> => {
        const pixels = nudged(await pixelsOf(from.model, from.images[i]!), seed);
        return (await from.model.explain(pixels, { ...request, targets: from.common.targets[i] }))[0]!.maps[0]!.data;
      };
      const what = `${name} ${key}, image ${i}`;
      await expectRounded(maps[0]!.data, theirs, what, { model: from.model, again });
      await expectRounded(varying(maps[0]!.data), varying(theirs), `${what}, what varies`, {
        model: from.model,
        again: async (seed) => varying(await again(seed)),
        promised: 1e-4,
      });
    }
  });
});

describe('by hand, on two channels of 2 x 2 places', () => {
  const [red, green] = [
    [1, 2, 3, 4],
    [0, 4, 0, 0],
  ] as const;
  const image = { data: Float32Array.from([...red, ...green, 0, 0, 0, 0]), shape: [1, 3, 2, 2] };
  /** The logit of class 0, mean red + 2 mean green + 1, where so much of each place is left. */
  const score = (kept: readonly number[]): number =>
    kept.reduce((sum, share, place) => sum + share * (red[place]! + 2 * green[place]!), 0) / 4 + 1;

  it.each([
    ['single', [1, 0, 0]],
    ['gaussian', [1 / 4, 1 / 8, 1 / 16]],
  ] as const)('recipro-cam, kernel %s', async (kernel, [own, beside, across]) => {
    await using model = await Model.load(
      fileURLToPath(new URL('../../parity/methods/score-two-by-two.pt', import.meta.url)),
      { device: 'cpu', card: plainCard(2, 2) },
    );
    const [explained] = await model.explain([image], {
      method: 'recipro-cam',
      kernel,
      layer: 'relu',
      targets: [0],
      size: 'grid',
      raw: true,
    });
    const expected = [
      [own, beside, beside, across],
      [beside, own, across, beside],
      [beside, across, own, beside],
      [across, beside, beside, own],
    ].map(score);
    // Four products and their sum in each channel, a mean, two products and two sums.
    expectWithin(explained!.maps[0]!.data, expected, 12, 10);
  });
});

describe.each([
  ['torchvision-resnet-traced', [32, 48]],
  ['timm-swin-traced', [24, 40]],
] as const)('a linear head on the mean of a feature: %s', (archive, [height, width]) => {
  it('recipro-cam is CAM over its places, and the bias', async () => {
    await using model = await loadSmall(archive);
    const { head } = await model.inspect();
    const images = randomTensor(2, height, width, 5);
    const maps = async (method: 'cam' | 'recipro-cam', seed = 0): Promise<number[][]> =>
      (
        await model.explain(nudged(images, seed), {
          method,
          layer: head!.feature,
          targets: [1, 4],
          size: 'grid',
          raw: true,
        })
      ).flatMap((explained) => explained.maps.map(({ data }) => varying(data)));
    const cams = (await maps('cam')).map((map) => map.map((value) => value / map.length));
    for (const [i, map] of (await maps('recipro-cam')).entries()) {
      await expectRounded(map, cams[i]!, `map ${i}`, {
        model,
        again: async (seed) => (await maps('recipro-cam', seed))[i]!,
      });
    }
    expect(cams.length).toBe(4);
  });
});

describe('refused in one sentence', () => {
  it.each([
    [
      'torchvision-resnet-traced',
      { method: 'vit-recipro-cam' },
      'METHOD_NOT_APPLICABLE',
      /^vit-recipro-cam cannot explain .*: "layer4" has no tokens; recipro-cam explains it\.$/,
    ],
    [
      'timm-vit-fused-traced',
      { method: 'recipro-cam' },
      'METHOD_NOT_APPLICABLE',
      /^recipro-cam cannot explain .*: "blocks\.1\.norm1" has tokens, which vit-recipro-cam explains\.$/,
    ],
    [
      'torchvision-resnet-traced',
      { method: 'recipro-cam', kernel: 'box' },
      'INVALID_OPTION',
      /^The option kernel of recipro-cam is wrong: 'single' or 'gaussian' is expected\.$/,
    ],
    [
      'timm-vit-fused-traced',
      { method: 'vit-recipro-cam', classToken: 1 },
      'INVALID_OPTION',
      /^The option classToken of vit-recipro-cam is wrong: true or false is expected\.$/,
    ],
    [
      'torchvision-resnet-traced',
      { method: 'recipro-cam', layer: 'avgpool' },
      'METHOD_NOT_APPLICABLE',
      /"avgpool" has no spatial axes/,
    ],
    [
      'torchvision-resnet-traced',
      { method: 'vit-recipro-cam', layer: 'fc' },
      'METHOD_NOT_APPLICABLE',
      /"fc" has no tokens\.$/,
    ],
    ['torchvision-resnet-traced', { method: 'recipro-cam', layer: 'layer9' }, 'UNKNOWN_NODE', /no layer "layer9"/],
  ] as const)('%s: %j', async (archive, options, code, message) => {
    await using model = await loadSmall(archive);
    const [height, width] = archive.startsWith('timm') ? [24, 40] : [32, 48];
    await expect(model.explain(randomTensor(1, height, width), options as never)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
  });
});
