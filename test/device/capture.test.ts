import { afterAll, beforeAll, describe, it } from 'vitest';

import type { Model } from '../../lib/index.js';
import { plainCard, randomTensor } from '../support/models.js';
import { expectSame, loadBoth, watched } from './device.js';

describe.each([
  ['torchvision-resnet-traced', [32, 48]],
  ['torchvision-vit-traced', [32, 32]],
  ['timm-vit-unfused-traced', [24, 40]],
  ['timm-swin-fused-traced', [24, 40]],
  ['transformers-dinov2-registers-traced', [64, 64]],
] as const)('%s', (archive, [height, width]) => {
  let onCpu: Model;
  let there: Model;
  const images = randomTensor(2, height, width, 5);
  const all = async (): Promise<object> => {
    const { nodes, attention } = await onCpu.inspect();
    const sites = attention.length === 0 ? {} : { attention: 'all', query: 'all', key: 'all', value: 'all' };
    return { features: nodes.map(({ name }) => name), input: true, ...sites };
  };

  beforeAll(async () => ({ onCpu, there } = await loadBoth(archive, { card: plainCard(height, width) })));
  afterAll(() => Promise.all([onCpu.close(), there.close()]));

  it('captures every node, attention, query, key and value', async () => {
    const options = (await all()) as never;
    const expected = await onCpu.capture(images, options);
    const { result } = await watched(() => there.capture(images, options));
    expectSame(result, expected);
  });

  it('captures them with their gradients', async () => {
    const options = { ...(await all()), gradients: { target: 'top1' } } as never;
    const expected = await onCpu.capture(images, options);
    const { result } = await watched(() => there.capture(images, options));
    expectSame(result, expected);
  });
});

describe('attention as maps', () => {
  let onCpu: Model;
  let there: Model;
  beforeAll(async () => ({ onCpu, there } = await loadBoth('timm-vit-fused-traced')));
  afterAll(() => Promise.all([onCpu.close(), there.close()]));

  it.each([
    { of: 'probabilities' },
    { of: 'query', contrast: 'sigmoid' },
    { of: 'key', block: 1 },
    { of: 'value' },
  ] as const)('%j', async (options) => {
    const image = randomTensor(1, 24, 40, 3);
    const expected = await onCpu.attention(image, options);
    const { result } = await watched(() => there.attention(image, options));
    expectSame(result, expected);
  });
});
