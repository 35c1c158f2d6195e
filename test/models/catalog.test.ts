import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { Model, SightlineError } from '../../lib/index.js';
import { parseCard, type ModelCard } from '../../lib/models/card.js';
import { architectures, catalog, cataloged, skeletonOf, type SkeletonCard } from '../../lib/models/catalog.js';
import { plainCard } from '../support/models.js';

const cards = await catalog();
const names = await architectures();

describe('the catalog', () => {
  it('has the models that users of timm know by these names, each with a skeleton and its own facts', async () => {
    expect(cards.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'resnet50',
        'vit_base_patch16_224',
        'deit_tiny_distilled_patch16_224',
        'swin_tiny_patch4_window7_224',
        'dinov2_small',
        'test_vit',
      ]),
    );
    for (const card of cards) {
      const skeleton = (await skeletonOf(card.architecture)).card;
      const isUsual = card.input.width === skeleton.size;
      expect([card.targetLayer, card.input.height], card.name).toEqual([skeleton.targetLayer, card.input.width]);
      // More places need more operations, and a ViT a longer embedding of them.
      const { parameters, flops } = skeleton;
      if (isUsual) expect([card.parameters, card.flops], card.name).toEqual([parameters, flops]);
      else {
        expect(skeleton.fixedSize, card.name).toBeUndefined();
        expect(card.flops / flops > 1, card.name).toBe(card.input.width > skeleton.size);
        expect(card.parameters / parameters, card.name).toBeCloseTo(1, 1);
      }
      expect(card.weights.repository).toMatch(/^(timm|facebook)\//);
    }
  });

  it('has as many models as the README says', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    expect(/(\d+) models of the catalog/.exec(readme)?.[1]).toBe(String(cards.length));
  });

  it('uses every skeleton but that of the bundled model, and those that nobody published with a classifier', () => {
    const others = ['efficientnet_lite0', 'vit_base_patch16_siglip', 'vit_base_patch16_siglip_gap'];
    expect([...new Set([...cards.map(({ architecture }) => architecture), ...others])].sort()).toEqual(names);
  });

  it('finds a card by its name, and none by another, or by a path', async () => {
    expect((await cataloged('resnet50'))?.weights.repository).toBe('timm/resnet50.a1_in1k');
    expect(await cataloged('resnet51')).toBeNull();
    expect(await cataloged('../vit-tiny-shapes')).toBeNull();
  });

  it('refuses cards whose weights lie outside of a repository, or are named by nobody', () => {
    const good = cards.find(({ name }) => name === 'test_vit')! as ModelCard;
    const weights = good.weights!;
    expect(parseCard({ ...good, weights: { ...weights, revision: 'refs/pr/1' } }, 'x').weights!.revision).toBe(
      'refs/pr/1',
    );
    for (const [field, value] of [
      ['file', '../model.safetensors'],
      ['file', '/etc/passwd'],
      ['file', 'a//b'],
      ['revision', '..'],
      ['revision', 'a/../b'],
      ['repository', 'model'],
      ['repository', '../x/y'],
      ['naming', 'keras'],
      ['layerNormEps', 0],
      ['sha256', 'ab'],
      ['url', 'x'],
    ] as const) {
      expect(() => parseCard({ ...good, weights: { ...weights, [field]: value } }, 'x'), `${field} ${value}`).toThrow(
        SightlineError,
      );
    }
  });
});

describe('skeletonOf', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'skeletons-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('names the architectures that there are where one is not', async () => {
    await expect(skeletonOf('vgg13')).rejects.toThrow(
      /^There is no skeleton of the architecture "vgg13"; there are those of beit_base_patch16, /,
    );
    await expect(skeletonOf('../catalogue/resnet50')).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL' });
  });

  it.each(names)('gives %s as its card describes it', async (name) => {
    const { archive, card } = await skeletonOf(name);
    const bytes = readFileSync(archive);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(card.sha256);
    // No weights are in it: masks and indices of windows, and rotary positions, are the largest that is.
    expect(bytes.length).toBeLessThan(card.fixedSize === true ? 50_000 : 15_000);
  });

  /** A checkpoint of nothing but zeros, which take no room on disk. */
  const zeros = ({ architecture, tensors }: SkeletonCard): string => {
    let end = 0;
    const entries = Object.entries(tensors).map(([name, shape]) => {
      const sizes = shape.map((size) => (typeof size === 'number' ? size : size === 'classes' ? 1000 : null));
      const begin = end;
      // The position embedding's length is the one that its own size asks for.
      end += 4 * sizes.reduce<number>((count, size) => count * (size ?? tokensOf[architecture]!), 1);
      return [
        name,
        { dtype: 'F32', shape: sizes.map((size) => size ?? tokensOf[architecture]!), data_offsets: [begin, end] },
      ] as const;
    });
    const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const file = path.join(folder, `${architecture}.safetensors`);
    writeFileSync(file, Buffer.concat([length, header]));
    truncateSync(file, 8 + header.length + end);
    return file;
  };
  const tokensOf: Record<string, number> = {
    test_vit: 101,
    vit_tiny_patch16: 197,
    deit_tiny_distilled_patch16: 198,
    dinov2_small_registers: 1 + 37 * 37,
    deit3_small_patch16: 196,
    vit_base_patch32_clip: 50,
    vit_base_patch16_siglip: 196,
  };

  const expected: readonly (readonly [
    name: string,
    sites: number,
    grid: number | null,
    prefix: number,
    feature: string | null,
  ])[] = [
    ['test_resnet', 0, null, 0, 'layer4'],
    ['test_convnext', 0, null, 0, null],
    ['test_vit', 6, 10, 1, null],
    ['resnet18', 0, null, 0, 'layer4'],
    ['vit_tiny_patch16', 12, 14, 1, null],
    ['deit_tiny_distilled_patch16', 12, 14, 2, null],
    ['dinov2_small_registers', 12, 16, 5, null],
    ['swin_tiny_patch4_window7', 12, null, 0, 'norm'],
    ['efficientnet_b0', 0, null, 0, 'bn2'],
    ['mobilenetv3_small_100', 0, null, 0, null],
    ['densenet121', 0, null, 0, 'features'],
    ['regnety_008', 0, null, 0, 's4'],
    ['deit3_small_patch16', 12, 14, 1, null],
    ['vit_base_patch32_clip', 12, 7, 1, null],
  ];

  it.each(expected)(
    'gives %s as the engine reads it: attention, token grid, head, target layer, parameters, operations',
    async (name, sites, grid, prefix, feature) => {
      const { card } = await skeletonOf(name);
      await using model = await Model.load(zeros(card), {
        device: 'cpu',
        optimize: false,
        card: { ...plainCard(card.size, card.size), architecture: name },
      });
      const found = await model.inspect();
      expect({
        parameters: found.parameters,
        flops: found.flops,
        targetLayer: found.targetLayer,
        classes: found.classes,
        canBatch: found.canBatch,
      }).toEqual({
        parameters: card.parameters,
        flops: card.flops,
        targetLayer: card.targetLayer,
        classes: 1000,
        canBatch: true,
      });
      expect(found.attention.length).toBe(sites);
      expect(found.attention.every(({ unsupported }) => unsupported === '')).toBe(true);
      expect(found.tokens).toEqual(
        grid === null ? null : { height: grid, width: grid, prefix, suffix: 0, classToken: 0, isReadKnown: true },
      );
      expect(found.head?.feature ?? null).toBe(feature);
      const applies = (name: string): boolean => found.methods.find((each) => each.name === name)!.reason === null;
      expect({ cam: applies('cam'), gradCam: applies('grad-cam'), rollout: applies('attention-rollout') }).toEqual({
        cam: feature !== null,
        gradCam: true,
        rollout: grid !== null,
      });
    },
  );

  it.each(['swinv2_tiny_window8', 'maxvit_tiny_tf', 'vit_base_patch16_siglip'])(
    'offers CAM but no rollout of %s, whose attention does not lead from patches to the class',
    async (name) => {
      const { card } = await skeletonOf(name);
      await using model = await Model.load(zeros(card), {
        device: 'cpu',
        optimize: false,
        card: { ...plainCard(card.size, card.size), architecture: name },
      });
      const { methods, targetLayer, parameters, flops } = await model.inspect();
      const reason = (name: string): string | null => methods.find((each) => each.name === name)!.reason;
      expect([targetLayer, parameters, flops]).toEqual([card.targetLayer, card.parameters, card.flops]);
      expect(reason('grad-cam')).toBeNull();
      expect(reason('attention-rollout')).toMatch(/[a-z]{3}/);
      if (card.fixedSize !== true) return;
      // At another size its windows would be wrong, and its answer with them.
      const side = card.size + 32;
      const image = { data: new Float32Array(3 * side * side), shape: [1, 3, side, side] };
      await expect(model.predict(image)).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        message: expect.stringContaining(
          `is for images of ${card.size} x ${card.size} pixels alone, not for ${side} x ${side}`,
        ),
      });
    },
  );
});
