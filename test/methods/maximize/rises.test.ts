import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type Capture, type CaptureOptions, type MaximizeOptions, type Tensor } from '../../../lib/index.js';
import { randomTensor } from '../../support/models.js';
import { expectRounded, nudged } from '../../support/rounding.js';

/** What a kind of objective is, read out of a capture: independent of how `maximize` computes it. */
interface Kind {
  readonly name: string;
  readonly options: MaximizeOptions;
  readonly taps: CaptureOptions;
  /** Of the first image captured. */
  readonly measured: (capture: Capture) => number;
}

const mean = (values: readonly number[]): number => values.reduce((total, each) => total + each, 0) / values.length;
/** The entry of image `indices[0]`, ... of a tensor. */
const at = ({ data, shape }: Tensor, ...indices: number[]): number =>
  data[indices.reduce((offset, index, axis) => offset * shape[axis]! + index, 0)]!;
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const patches = range(1, 197);

const RESNET: readonly Kind[] = [
  {
    name: 'a channel',
    options: { node: 'layer3', channel: 6 },
    taps: { features: ['layer3'] },
    measured: ({ features }) =>
      mean(range(0, 14).flatMap((row) => range(0, 14).map((column) => at(features['layer3']!, 0, 6, row, column)))),
  },
  {
    name: 'a channel of pixels',
    options: { node: 'layer2', channel: 17, parametrization: 'pixel' },
    taps: { features: ['layer2'] },
    measured: ({ features }) =>
      mean(range(0, 28).flatMap((row) => range(0, 28).map((column) => at(features['layer2']!, 0, 17, row, column)))),
  },
  {
    name: 'a unit',
    // One place alone rises slowly, along a way that rounding turns.
    options: { node: 'layer3', channel: 9, unit: { row: 3, column: 11 }, jitter: 0, steps: 80 },
    taps: { features: ['layer3'] },
    measured: ({ features }) => at(features['layer3']!, 0, 9, 3, 11),
  },
  {
    name: 'a class',
    options: { class: 'dotted triangle' },
    taps: { features: ['fc'] },
    measured: ({ features }) => at(features['fc']!, 0, 2),
  },
];

const VIT: readonly Kind[] = [
  {
    name: 'a class',
    options: { class: 3 },
    taps: { features: ['head'] },
    measured: ({ features }) => at(features['head']!, 0, 3),
  },
  {
    name: 'the difference of two classes',
    options: { class: { of: 'wavy star', against: 'rayed flower' } },
    taps: { features: ['head'] },
    measured: ({ features }) => at(features['head']!, 0, 3) - at(features['head']!, 0, 9),
  },
  {
    name: 'a channel over the patches',
    options: { node: 'blocks.3', channel: 20 },
    taps: { features: ['blocks.3'] },
    measured: ({ features }) => mean(patches.map((token) => at(features['blocks.3']!, 0, token, 20))),
  },
  {
    name: "a token's state",
    options: { node: 'blocks.4', token: 0 },
    taps: { features: ['blocks.4'] },
    measured: ({ features }) => mean(range(0, 128).map((channel) => at(features['blocks.4']!, 0, 0, channel) ** 2)),
  },
  {
    name: "a patch's channel",
    options: { node: 'blocks.2', channel: 5, unit: { row: 2, column: 4 } },
    taps: { features: ['blocks.2'] },
    measured: ({ features }) => at(features['blocks.2']!, 0, 1 + 2 * 14 + 4, 5),
  },
  {
    name: "a head's attention to a patch",
    options: { node: 'blocks.4.attn', head: 2, unit: { row: 5, column: 8 } },
    taps: { attention: [4] },
    measured: ({ attention }) => at(attention[4]!, 0, 2, 0, 1 + 5 * 14 + 8),
  },
  {
    name: 'the attention of all heads from a token',
    options: { node: 'blocks.3', of: 'attention', token: 30, unit: { row: 0, column: 0 } },
    taps: { attention: [3] },
    measured: ({ attention }) => mean(range(0, 4).map((head) => at(attention[3]!, 0, head, 30, 1))),
  },
  ...(['query', 'key', 'value'] as const).map((of): Kind => ({
    name: `a ${of} channel`,
    options: { node: 'blocks.2.attn', of, head: 1, channel: 7 },
    taps: { [of]: [2] },
    measured: (capture) => mean(patches.map((token) => at(capture[of][2]!, 0, 1, token, 7))),
  })),
  {
    name: 'all channels of the values',
    options: { node: 'blocks.1', of: 'value', token: 12, jitter: 0 },
    taps: { value: [1] },
    measured: ({ value }) =>
      mean(range(0, 4).flatMap((head) => range(0, 32).map((channel) => at(value[1]!, 0, head, 12, channel) ** 2))),
  },
];

describe.each([
  ['resnet-tiny-shapes', RESNET],
  ['vit-tiny-shapes', VIT],
] as const)('%s', (name, kinds) => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(name, { device: 'cpu' });
  });
  afterAll(() => model.close());

  it.each(kinds)('$name rises far above what noise reaches', async ({ options, taps, measured }) => {
    const made = await model.maximize({ steps: 40, seed: 7, ...options });

    // Uniform noise in [0, 1], preprocessed.
    const { mean: means, std } = model.card.input;
    const preprocessed = (image: Float32Array): Tensor => ({
      data: image.map((value, i) => (value - means[Math.floor(i / 224 ** 2)]!) / std[Math.floor(i / 224 ** 2)]!),
      shape: [1, 3, 224, 224],
    });
    const ofNoise: number[] = [];
    for (let seed = 1; seed <= 6; seed++) {
      ofNoise.push(
        measured(
          await model.capture(preprocessed(randomTensor(1, 224, 224, seed).data.map((value) => (value + 1) / 2)), taps),
        ),
      );
    }
    const average = mean(ofNoise);
    const deviation = Math.sqrt(mean(ofNoise.map((value) => (value - average) ** 2)));
    const start = made.activations[0]!.activation;
    expect(made.activation).toBeGreaterThan(Math.max(...ofNoise) + 10 * deviation);
    expect(made.activation).toBeGreaterThan(start + 0.25 * Math.abs(start));

    // And it is what a run of the model says of the image that is handed out.
    expect(made.image.data.every((value) => value >= 0 && value <= 1)).toBe(true);
    const ofImage = async (seed = 0): Promise<number[]> => [
      measured(await model.capture(preprocessed(nudged(made.image, seed).data), taps)),
    ];
    await expectRounded(await ofImage(), [made.activation], 'what the image reaches', { model, again: ofImage });
  });
});
