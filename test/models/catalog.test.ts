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
    expect(cards.map(({ name }) => name)).toEqual(expect.arrayContaining(['resnet50', 'vit_base_patch16_224', 'deit_tiny_distilled_patch16_224', 'swin_tiny_patch4_window7_224', 'dinov2_small', 'test_vit']));
    for (const card of cards) {
      const skeleton = (await skeletonOf(card.architecture)).card;
      expect({ parameters: card.parameters, flops: card.flops, targetLayer: card.targetLayer, width: card.input.width }).toEqual({
        parameters: skeleton.parameters,
        flops: skeleton.flops,
        targetLayer: skeleton.targetLayer,
        width: skeleton.size,
      });
      expect(card.weights.repository).toMatch(/^(timm|facebook)\//);
    }
  });

  it('uses every skeleton but that of the bundled model', async () => {
    expect([...new Set([...cards.map(({ architecture }) => architecture), 'efficientnet_lite0'])].sort()).toEqual(names);
  });

  it('finds a card by its name, and none by another, or by a path', async () => {
    expect((await cataloged('resnet50'))?.weights.repository).toBe('timm/resnet50.a1_in1k');
    expect(await cataloged('resnet51')).toBeNull();
    expect(await cataloged('../vit-tiny-shapes')).toBeNull();
  });

  it('refuses cards whose weights lie outside of a repository, or are named by nobody', () => {
    const good = cards.find(({ name }) => name === 'test_vit')! as ModelCard;
    const weights = good.weights!;
    expect(parseCard({ ...good, weights: { ...weights, revision: 'refs/pr/1' } }, 'x').weights!.revision).toBe('refs/pr/1');
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
      expect(() => parseCard({ ...good, weights: { ...weights, [field]: value } }, 'x'), `${field} ${value}`).toThrow(SightlineError);
    }
  });
});

describe('skeletonOf', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'skeletons-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('names the architectures that there are where one is not', async () => {
    await expect(skeletonOf('vgg16')).rejects.toThrow(/^There is no skeleton of the architecture "vgg16"; there are those of convnext_tiny, /);
    await expect(skeletonOf('../catalogue/resnet50')).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL' });
  });

  it.each(names)('gives %s as its card describes it', async (name) => {
    const { archive, card } = await skeletonOf(name);
    const bytes = readFileSync(archive);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(card.sha256);
    // No weights are in it: Swin's masks are the largest that is.
    expect(bytes.length).toBeLessThan(name.startsWith('swin') ? 40_000 : 10_000);
  });

  /** A checkpoint of nothing but zeros, which take no room on disk. */
  const zeros = ({ architecture, tensors }: SkeletonCard): string => {
    let end = 0;
    const entries = Object.entries(tensors).map(([name, shape]) => {
      const sizes = shape.map((size) => (typeof size === 'number' ? size : size === 'classes' ? 1000 : null));
      const begin = end;
      // The position embedding's length is the one that its own size asks for.
      end += 4 * sizes.reduce<number>((count, size) => count * (size ?? tokensOf[architecture]!), 1);
      return [name, { dtype: 'F32', shape: sizes.map((size) => size ?? tokensOf[architecture]!), data_offsets: [begin, end] }] as const;
    });
    const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const file = path.join(folder, `${architecture}.safetensors`);
    writeFileSync(file, Buffer.concat([length, header]));
    truncateSync(file, 8 + header.length + end);
    return file;
  };
  const tokensOf: Record<string, number> = { test_vit: 101, vit_tiny_patch16: 197, deit_tiny_distilled_patch16: 198, dinov2_small_registers: 1 + 37 * 37 };

  const expected: readonly (readonly [name: string, sites: number, grid: number | null, prefix: number, feature: string | null])[] = [
    ['test_resnet', 0, null, 0, 'layer4'],
    ['test_convnext', 0, null, 0, null],
    ['test_vit', 6, 10, 1, null],
    ['resnet18', 0, null, 0, 'layer4'],
    ['vit_tiny_patch16', 12, 14, 1, null],
    ['deit_tiny_distilled_patch16', 12, 14, 2, null],
    ['dinov2_small_registers', 12, 16, 5, null],
    ['swin_tiny_patch4_window7', 12, null, 0, 'norm'],
  ];

  it.each(expected)('gives %s as the engine reads it: attention, token grid, head, target layer, parameters, operations', async (name, sites, grid, prefix, feature) => {
    const { card } = await skeletonOf(name);
    await using model = await Model.load(zeros(card), { device: 'cpu', optimize: false, card: { ...plainCard(card.size, card.size), architecture: name } });
    const found = await model.inspect();
    expect({ parameters: found.parameters, flops: found.flops, targetLayer: found.targetLayer, classes: found.classes, canBatch: found.canBatch }).toEqual({
      parameters: card.parameters,
      flops: card.flops,
      targetLayer: card.targetLayer,
      classes: 1000,
      canBatch: true,
    });
    expect(found.attention.length).toBe(sites);
    expect(found.attention.every(({ opaque }) => opaque === '')).toBe(true);
    expect(found.tokens).toEqual(grid === null ? null : { height: grid, width: grid, prefix, suffix: 0, classToken: 0 });
    expect(found.head?.feature ?? null).toBe(feature);
  });
});
