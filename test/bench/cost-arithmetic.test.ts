import { describe, expect, it } from 'vitest';

import { Model, type ModelInspection } from '../../lib/index.js';
import { loadSmall, plainCard } from '../support/models.js';
import { sightline, useBuiltCommand } from '../cli/command.js';

useBuiltCommand();

async function inspect(name: string, side?: number): Promise<ModelInspection> {
  await using model = await loadSmall(name, side === undefined ? {} : { card: plainCard(side, side) });
  return await model.inspect();
}

/**
 * Multiplications of one image, by the sizes in test/parity/exports.py and archives_only.py; an addition goes with
 * each.
 */
const convolution = (outputs: number, inputs: number, kernel: number, height: number, width: number): number =>
  outputs * height * width * inputs * kernel ** 2;
const linear = (rows: number, inputs: number, outputs: number): number => rows * inputs * outputs;

/** A ViT of 2 blocks, 24 channels, an MLP of 48 and patches of 8 x 8; its head reads one token. */
function vit(
  patches: number,
  tokens: number,
  classes: number,
): { block: number; product: number; behind: number; total: number; parameters: number } {
  const product = tokens * tokens * 24; // attention times values; as many for queries times keys
  const mlp = linear(tokens, 24, 48) + linear(tokens, 48, 24);
  const block = linear(tokens, 24, 72) + 2 * product + linear(tokens, 24, 24) + mlp;
  const head = linear(1, 24, classes);
  const parameters =
    (3 * 64 + 1) * 24 + 24 + tokens * 24 + 2 * (2 * 48 + 25 * 72 + 25 * 24 + 25 * 48 + 49 * 24) + 48 + 25 * classes;
  return {
    block,
    product,
    behind: product + linear(tokens, 24, 24) + mlp + head,
    total: convolution(24, 3, 8, 1, patches) + 2 * block + head,
    parameters,
  };
}

describe('the arithmetic of a model', () => {
  it('is that of its convolutions and linear layers, two operations for each weight at each place', async () => {
    const { flops, parameters, nodes } = await inspect('conv-net');
    // 32 x 48 pixels, strides of 4: 8 x 12 places, then 2 x 3.
    const [first, second] = [convolution(8, 3, 3, 8, 12), convolution(8, 8, 3, 2, 3)];
    const head = linear(1, 48, 16) + linear(1, 16, 7);
    expect(flops).toBe(2 * (first + second + head));
    expect(parameters).toBe(28 * 8 + 73 * 8 + 49 * 16 + 17 * 7);
    const behind = (name: string): number | null => nodes.find((node) => node.name === name)!.flopsAfter;
    expect(behind('features.0')).toBe(2 * (second + head));
    expect(behind('features.2')).toBe(2 * head);
    expect(behind('classifier.1')).toBe(2 * linear(1, 16, 7));
    expect(behind('classifier.3')).toBe(0);
  });

  it('is found in scripted archives, masks and boxes as well', async () => {
    expect(await inspect('mlp', 8)).toMatchObject({
      flops: 2 * (linear(1, 192, 16) + linear(1, 16, 7)),
      parameters: 193 * 16 + 17 * 7,
    });
    expect(await inspect('linear-mask')).toMatchObject({ flops: 2 * convolution(2, 3, 1, 8, 8), parameters: 8 });
    expect(await inspect('linear-boxes')).toMatchObject({ flops: 2 * convolution(5, 3, 4, 2, 2), parameters: 5 * 49 });
  });

  it.each([
    'timm-vit-fused-traced',
    'timm-vit-fused-scripted',
    'timm-vit-fused-frozen',
    'timm-vit-unfused-traced',
    'timm-vit-unfused-scripted',
  ])('of %s counts attention, whichever way it is written', async (name) => {
    const { flops, parameters, attention, nodes, hasModuleNames } = await inspect(name);
    const expected = vit(15, 16, 7);
    expect(flops).toBe(2 * expected.total);
    expect(parameters).toBe(expected.parameters);
    expect(attention.map(({ flopsAfter }) => flopsAfter)).toEqual([
      2 * (expected.behind + expected.block),
      2 * expected.behind,
    ]);
    if (hasModuleNames) {
      expect(nodes.find((node) => node.name === 'blocks.0')!.flopsAfter).toBe(2 * (expected.block + linear(1, 24, 7)));
    }
  });

  it.each(['torchvision-vit-traced', 'torchvision-vit-traced-no-grad', 'torchvision-vit-scripted'])(
    'of %s counts the fused multi-head attention that was opened',
    async (name) => {
      const expected = vit(16, 17, 7);
      expect(await inspect(name, 32)).toMatchObject({ flops: 2 * expected.total, parameters: expected.parameters });
    },
  );

  it.each([
    ['quantised-static', undefined],
    ['quantised-dynamic', 8],
  ])('of %s is not told, since packed weights cannot be read', async (name, side) => {
    const { flops, parameters, nodes } = await inspect(name, side);
    expect({ flops, parameters }).toEqual({ flops: null, parameters: null });
    expect(nodes.every(({ flopsAfter }) => flopsAfter === null)).toBe(true);
  });

  it('grows with the image, and what lies behind a node never exceeds the whole', async () => {
    await using model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
    const [small, large] = [
      await model.inspect({ height: 96, width: 96 }),
      await model.inspect({ height: 96, width: 192 }),
    ];
    const head = small.head!.channels * small.classes * 2;
    expect(large.flops! - head).toBe(2 * (small.flops! - head));
    expect(large.parameters).toBe(small.parameters);
    for (const { flopsAfter, bytesAfter } of small.nodes) {
      expect(flopsAfter).toBeLessThan(small.flops!);
      expect(bytesAfter).toBeLessThan(small.activationBytes);
    }
    const { stdout } = await sightline('inspect', 'resnet-tiny-shapes', '--device', 'cpu');
    const { flops, parameters } = await model.inspect();
    expect(stdout).toContain(`${Number((flops! / 1e9).toPrecision(3))} GFLOP`);
    expect(stdout).toMatch(new RegExp(`parameters +${parameters!.toLocaleString('en-US')}`));
  });
});
