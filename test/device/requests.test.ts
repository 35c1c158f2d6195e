import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { defineMethod, Model, symbolic, z } from '../../lib/index.js';
import { randomTensor } from '../support/models.js';
import { expectSame, loadBoth, watched } from './device.js';

const PICTURES = ['000', '001', '002'].map((name) =>
  fileURLToPath(new URL(`../../models/eval/${name}.png`, import.meta.url)),
);
const { abs, accumulate, concatenate, constant, grad, iterate, mean, mul, noise, relu, select, softmax, sub, sum } =
  symbolic;

describe.each([
  ['torchvision-resnet-traced', [32, 48], 'grad-cam', 'cam'],
  ['timm-vit-fused-traced', [24, 40], 'gae', 'attention-rollout'],
] as const)('%s', (archive, [height, width], withGradient, plain) => {
  let onCpu: Model;
  let there: Model;
  const images = randomTensor(3, height, width, 29);
  beforeAll(async () => ({ onCpu, there } = await loadBoth(archive)));
  afterAll(() => Promise.all([onCpu.close(), there.close()]));

  const compare = async (ask: (model: Model) => Promise<unknown>): Promise<void> => {
    const expected = await ask(onCpu);
    const { result } = await watched(() => ask(there));
    expectSame(result, expected);
  };

  it('scores alone', () => compare((model) => model.predict(images, { top: 3 })));

  it.each([
    ['several classes', [0, 'top3', 2]],
    ['a difference', [{ of: 1, against: 3 }, 2]],
    ['each image its own', [[0], [3], ['top1']]],
  ])('targets: %s', (_, targets) =>
    compare((model) => model.explain(images, { method: withGradient, targets, raw: true } as never)),
  );

  it('several methods from one run', () =>
    compare((model) =>
      model.explain(images, [
        { method: withGradient, targets: ['top2'] },
        { method: plain, targets: ['top2'] },
        { method: 'input-x-gradient', targets: ['top2'], size: 'grid' },
        { method: 'smooth-grad', targets: ['top2'], samples: 3 },
      ] as never),
    ));

  it.each(['probability', (run: symbolic.Run) => sum(softmax(run.logits, 'classes').mul(2), 'classes')] as const)(
    'the score %s',
    (score) => compare((model) => model.explain(images, { method: withGradient, score, targets: [1] } as never)),
  );

  it('layers fused, averaged over mirrored and scaled images', async () => {
    const { nodes } = await onCpu.inspect();
    const spatial = nodes.filter(({ layout }) => layout === 'channels-first' || layout === 'tokens').slice(-3, -1);
    await compare((model) =>
      model.explain(images, {
        method: 'grad-cam',
        layer: spatial.map(({ name }) => name),
        augmentationSmoothing: true,
        targets: [2],
      }),
    );
  });

  it("a caller's own method: noise, constants, loops and gradients of gradients", async () => {
    const method = defineMethod({
      name: 'test-of-a-device',
      options: z.strictObject({}),
      usesLayer: false,
      isClassSpecific: true,
      reasonAgainst: () => null,
      map: ({ model }) => {
        const { image } = model;
        const smooth = accumulate(image, 4, (sample) => {
          const run = model.run(image.add(noise(image, sample, 7, 'normal').mul(0.1)));
          return mean(abs(grad(run.score, run.image)), 'channels');
        }).div(4);
        const steps = concatenate(image, 3, (sample) => model.run(image.mul(sample.mul(0.25))).score);
        const along = iterate(image, 2, (now) => {
          const run = model.run(now);
          return now.add(grad(run.score, run.image).mul(0.1));
        });
        const weights = constant(image, Float32Array.from([0.25, 0.5, 0.25]), { one: 1, channels: 3 });
        const first = grad(model.output.score, model.output.image);
        const change = sum(relu(mul(sub(along, image), first)), 'channels');
        const scale = mean(steps, 'sample').mul(select(mean(weights, 'channels'), 'one', 0));
        return smooth.add(change).add(mean(abs(image), 'channels').mul(scale));
      },
    });
    await compare((model) => model.explain(images, { method, targets: [1, 3], raw: true }));
  });

  it('one component of many positions, by iteration', async () => {
    const { nodes } = await onCpu.inspect();
    const wide = nodes.find(({ layout, shape }) => layout === 'channels-first' && shape[2]! * shape[3]! > 256);
    if (archive === 'torchvision-resnet-traced') expect(wide).toBeDefined();
    if (wide === undefined) return;
    await compare((model) => model.explain(images, { method: 'kpca-cam', layer: wide.name, raw: true }));
  });

  it.each(['pixel', 'fourier'] as const)('the image that excites a class most (%s)', (parametrization) =>
    compare(async (model) => {
      const { image, activations } = await model.maximize({
        class: 1,
        steps: 4,
        parametrization,
        jitter: 2,
        blur: { size: 3, sigma: 1, every: 2 },
        totalVariation: 0.1,
        seed: 3,
      });
      return { data: image.data, activations };
    }),
  );
});

// The archive of `npm run pack:gpu` leaves the largest one at home.
const NAMES = ['resnet-tiny-shapes', 'vit-tiny-shapes', 'efficientnet-lite0'].filter((name) =>
  ['pt', 'safetensors'].some((ending) =>
    existsSync(fileURLToPath(new URL(`../../models/${name}.${ending}`, import.meta.url))),
  ),
);

describe('pictures', () => {
  it.each(NAMES)('%s: resize, crop and normalisation are done on the device', async (name) => {
    const { onCpu, there } = await loadBoth(name, {}, (model, options) => Model.load(model, options));
    try {
      const options = { method: 'grad-cam', targets: ['top2'] } as const;
      const expected = await onCpu.explain(PICTURES, options);
      const { result, waits } = await watched(() => there.explain(PICTURES, options));
      expectSame(result, expected);
      expect(waits?.readBacks ?? {}).toEqual({});
      expect(expected[0]!.maps[0]!.state).toBe('ok');
    } finally {
      await Promise.all([onCpu.close(), there.close()]);
    }
  });
});
