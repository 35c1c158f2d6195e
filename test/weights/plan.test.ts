import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { SightlineError } from '../../lib/index.js';
import { architectures, skeletonOf, type SkeletonCard } from '../../lib/models/catalog.js';
import type { Naming } from '../../lib/models/card.js';
import type { TensorPart } from '../../lib/engine/weight-plan.js';
import { planWeights } from '../../lib/weights/plan.js';

const CLASSES = 7;
const names = await architectures();
const cards = new Map(await Promise.all(names.map(async (name) => [name, (await skeletonOf(name)).card] as const)));

type Shapes = Record<string, readonly number[]>;

/** What libraries write: dtype and shape by name; made by checkpoint_keys.py. */
const written = JSON.parse(readFileSync(new URL('checkpoint-keys.json', import.meta.url), 'utf8')) as Record<
  string,
  Record<string, [string, ...number[]]>
>;

/** A checkpoint of the skeleton's own names. */
function ownShapes(card: SkeletonCard, classes = CLASSES, tokens = 37): Shapes {
  return Object.fromEntries(
    Object.entries(card.tensors).map(([name, shape]) => [
      name,
      shape.map((length) => (length === 'classes' ? classes : length === 'tokens' ? tokens : length)),
    ]),
  );
}

function headerOf(shapes: Shapes, file = 0, dtype = 'F32'): Map<string, TensorPart> {
  let at = 100;
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const begin = at;
      at += 4 * shape.reduce((product, length) => product * length, 1);
      return [name, { file, begin, end: at, dtype, shape }];
    }),
  );
}

function refusal(
  architecture: string,
  shapes: Shapes | Map<string, TensorPart>,
  naming: Naming | 'auto' = 'auto',
): string {
  try {
    planWeights(
      cards.get(architecture)!,
      ['/a/model.safetensors'],
      [shapes instanceof Map ? shapes : headerOf(shapes)],
      naming,
    );
  } catch (error) {
    if (!(error instanceof SightlineError)) throw error;
    expect(error.code).toBe('INVALID_WEIGHTS');
    expect(error.message).toMatch(/^[^\n]+\.$/);
    return error.message;
  }
  return expect.fail('it was taken');
}

describe('planWeights', () => {
  it.each(names)('finds every tensor of %s by its own names, whatever the classes and the image size', (name) => {
    const card = cards.get(name)!;
    const shapes = ownShapes(card);
    const header = headerOf(shapes);
    const { assignments, files } = planWeights(card, ['a'], [header], 'auto');
    expect(files).toEqual(['a']);
    expect(Object.fromEntries(assignments.map((each) => [each.name, each.shape]))).toEqual(shapes);
    for (const { name: tensor, parts } of assignments) expect(parts).toEqual([header.get(tensor)]);
  });

  it.each(Object.keys(written))('finds every tensor in what is written as %s', (which) => {
    const [naming, architecture] = which.split(' ') as [Naming, string];
    const card = cards.get(architecture)!;
    const header = headerOf(
      Object.fromEntries(Object.entries(written[which]!).map(([name, [, ...shape]]) => [name, shape])),
    );
    const plan = planWeights(card, ['a'], [header], naming);
    expect(plan.assignments.map(({ name }) => name)).toEqual(Object.keys(card.tensors));
    const tokens = plan.assignments.find(({ name }) => card.tensors[name]!.includes('tokens'))?.shape[1];
    expect(Object.fromEntries(plan.assignments.map(({ name, shape }) => [name, shape]))).toEqual(
      ownShapes(card, CLASSES, tokens),
    );
    // No tensor of the file goes to two places, and all that inference reads goes to one.
    const used = plan.assignments.flatMap(({ parts }) => parts.map(({ begin }) => begin));
    expect(new Set(used).size).toBe(used.length);
    const unread = [...header]
      .filter(([, { begin }]) => !used.includes(begin))
      .map(([name]) => name.split('.').at(-1)!);
    expect(
      unread.filter((name) => !['num_batches_tracked', 'mask_token', 'relative_position_index'].includes(name)),
    ).toEqual([]);
    expect(planWeights(card, ['a'], [header], 'auto')).toEqual(plan);
  });

  it("joins Hugging Face's query, key and value in this order, in whatever order the file has them", () => {
    const card = cards.get('vit_tiny_patch16')!;
    const header = headerOf(
      Object.fromEntries(
        Object.entries(written['huggingface vit_tiny_patch16']!).map(([name, [, ...shape]]) => [name, shape]),
      ),
    );
    const { assignments } = planWeights(card, ['a'], [header], 'huggingface');
    const joined = assignments.find(({ name }) => name === 'blocks.3.attn.qkv.bias')!;
    expect(joined.shape).toEqual([576]);
    expect(joined.parts).toEqual(
      ['query', 'key', 'value'].map((part) => header.get(`vit.encoder.layer.3.attention.attention.${part}.bias`)),
    );
    header.delete('vit.encoder.layer.3.attention.attention.key.bias');
    expect(refusal('vit_tiny_patch16', header)).toContain('1 tensor is missing (the key of blocks.3.attn.qkv.bias)');
  });

  it('reads the names of transformers 5, those of several GPUs, and a checkpoint in two files', () => {
    const card = cards.get('dinov2_small')!;
    const header = headerOf(ownShapes(card));
    expect(planWeights(card, ['a'], [header], 'huggingface').assignments.length).toBe(header.size);
    const resnet = cards.get('test_resnet')!;
    const wrapped = headerOf(
      Object.fromEntries(Object.entries(ownShapes(resnet)).map(([name, shape]) => [`module.${name}`, shape])),
    );
    expect(planWeights(resnet, ['a'], [wrapped], 'auto').assignments.length).toBe(wrapped.size);

    const all = Object.entries(ownShapes(card));
    const halves = [headerOf(Object.fromEntries(all.slice(0, 50)), 0), headerOf(Object.fromEntries(all.slice(50)), 1)];
    const plan = planWeights(card, ['a', 'b'], halves, 'auto');
    expect(plan.assignments.filter(({ parts }) => parts[0]!.file === 1).length).toBe(all.length - 50);
    halves[1]!.set(all[0]![0], { file: 1, begin: 0, end: 4, dtype: 'F32', shape: [1] });
    expect(() => planWeights(card, ['a', 'b'], halves, 'auto')).toThrow(/^a and b both hold /);
  });

  it("reads timm's Swin as it was before release 0.9, with its masks and indices", () => {
    const card = cards.get('swin_tiny_patch4_window7')!;
    const old = Object.fromEntries(
      Object.entries(ownShapes(card)).map(([name, shape]) => [
        name
          .replace(/^layers\.(\d)\.downsample/, (_, at: string) => `layers.${Number(at) - 1}.downsample`)
          .replace('head.fc.', 'head.'),
        shape,
      ]),
    );
    old['layers.0.blocks.1.attn_mask'] = [64, 49, 49];
    old['layers.0.blocks.1.attn.relative_position_index'] = [49, 49];
    const header = headerOf(old);
    const { assignments } = planWeights(card, ['a'], [header], 'timm');
    expect(assignments.find(({ name }) => name === 'layers.2.downsample.reduction.weight')!.parts).toEqual([
      header.get('layers.1.downsample.reduction.weight'),
    ]);
  });

  it('says what is missing, extra or of another shape, a few of each, and counts the rest', () => {
    const { 'fc.weight': _, 'layer1.0.conv1.weight': __, ...rest } = ownShapes(cards.get('resnet18')!);
    expect(refusal('resnet18', { ...rest, 'fc.scale': [1], 'fc.bias': [5, 1] })).toBe(
      "/a/model.safetensors does not fit resnet18 by timm's names: 2 tensors are missing (layer1.0.conv1.weight, fc.weight); 1 tensor does not fit (fc.bias is [5, 1], [classes] is expected); 1 tensor is not of this architecture (fc.scale); check that it is a checkpoint of this architecture.",
    );
    const other = refusal('resnet18', ownShapes(cards.get('resnet34')!));
    expect(other).toMatch(/\d\d tensors are not of this architecture \(layer1\.2\.conv1\.weight, .+, \.\.\.\)/);
    expect(other.length).toBeLessThan(500);
    expect(refusal('vit_base_patch16', ownShapes(cards.get('vit_tiny_patch16')!))).toMatch(
      /1\d\d tensors do not fit \(cls_token is \[1, 1, 192\], \[1, 1, 768\] is expected/,
    );
    expect(refusal('vit_tiny_patch16', { 'bert.x': [1], y: [2] })).toContain(
      'none of its 2 tensors (bert.x, y) has a name',
    );
  });

  it('refuses heads that disagree on the classes, numbers that are not floating, tensors without one, and namings of other architectures', () => {
    expect(
      refusal('deit_tiny_distilled_patch16', {
        ...ownShapes(cards.get('deit_tiny_distilled_patch16')!),
        'head_dist.bias': [8],
      }),
    ).toContain('head_dist.bias is [8], [7] is expected');
    expect(refusal('test_resnet', headerOf(ownShapes(cards.get('test_resnet')!), 0, 'I8'))).toContain(
      'is of dtype I8, a floating-point one is expected',
    );
    expect(refusal('test_resnet', { ...ownShapes(cards.get('test_resnet')!), 'fc.bias': [0] })).toContain(
      'fc.bias is [0]',
    );
    expect(refusal('dinov2_small', ownShapes(cards.get('dinov2_small')!), 'timm')).toContain(
      'those of huggingface can',
    );
  });

  it('takes counters and other tensors that inference does not read, or does without them', () => {
    const card = cards.get('resnet18')!;
    const shapes = ownShapes(card);
    const with_ = headerOf({ ...shapes, 'bn1.num_batches_tracked': [] });
    expect(planWeights(card, ['a'], [with_], 'timm').assignments.length).toBe(Object.keys(shapes).length);
    expect(refusal('resnet18', { ...shapes, 'bn9.num_batches_tracked': [] })).toContain('bn9.num_batches_tracked');
  });

  it("passes on an epsilon that is not the skeleton's, but not to ConvNeXt, where it is of one norm only", () => {
    const epsilon = (name: string, layerNormEps: number): number | undefined => {
      const card = cards.get(name)!;
      return planWeights(card, ['a'], [headerOf(ownShapes(card))], 'auto', { layerNormEps }).layerNormEps;
    };
    expect(epsilon('vit_tiny_patch16', 1e-12)).toBe(1e-12);
    expect(epsilon('vit_tiny_patch16', 1e-6)).toBeUndefined();
    expect(epsilon('resnet18', 1e-12)).toBeUndefined();
    expect(epsilon('convnext_tiny', 1e-12)).toBeUndefined();
  });
});
