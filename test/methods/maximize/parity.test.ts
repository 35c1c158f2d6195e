import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { afterEach, describe, expect, it } from 'vitest';

import { Model, type MaximizeOptions } from '../../../lib/index.js';
import { plainCard } from '../../support/models.js';
import { roundingOf } from '../../support/rounding.js';
import { numbersOf, readSafetensors } from '../../support/safetensors.js';

const REFERENCES = new URL('../../parity/methods/', import.meta.url);
const NAMES = readdirSync(REFERENCES).filter((file) => /^maximize-.*\.safetensors$/.test(file));

const STEPS = 8;

interface Metadata {
  readonly options: string;
  readonly model: string;
  readonly height: string;
  readonly width: string;
  readonly stride: string;
}

function metadataOf(file: URL): Metadata {
  const bytes = readFileSync(file);
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE(0)))) as {
    __metadata__: Metadata;
  };
  return header.__metadata__;
}

let model: Model | null = null;
afterEach(async () => {
  await model?.close();
  model = null;
});

it('finds a reference of every kind', () => {
  expect(NAMES.length).toBeGreaterThanOrEqual(11);
});

describe('eight steps give the activations and the image of PyTorch', () => {
  it.each(NAMES)('%s', async (name) => {
    const file = new URL(name, REFERENCES);
    const reference = readSafetensors(file);
    const metadata = metadataOf(file);
    const [height, width, stride] = [metadata.height, metadata.width, metadata.stride].map(Number) as [
      number,
      number,
      number,
    ];
    const path = fileURLToPath(new URL(`../../../models/${metadata.model}-tiny-shapes.pt`, import.meta.url));
    // As exported: Adam's first steps go by the signs of gradients, which at a ReLU's kink hang on the order of
    // summation.
    model = await Model.load(path, {
      device: 'cpu',
      optimize: false,
      ...(height !== 224 && { card: plainCard(height, width) }),
    });

    const { image, activations } = await model.maximize({
      ...(JSON.parse(metadata.options) as MaximizeOptions),
      every: 1,
    });

    expect(activations.map(({ step }) => step)).toEqual(Array.from({ length: STEPS + 1 }, (_, step) => step));
    const expected = reference.get('activations')!.data as Float32Array;
    const scale = Math.max(...expected.map(Math.abs));
    // The reference is float64's. Each step is as exact as the network's operators are; where Adam makes more of that,
    // what eight float32 runs of PyTorch reached is a sample of how much.
    const ofSteps = STEPS * (await roundingOf(model));
    const [ofActivation, ofPixel, ofMoment] = numbersOf(reference.get('rounding')!).map((largest) =>
      Math.max(ofSteps, 4 * largest),
    ) as [number, number, number];
    activations.forEach(({ activation }, step) =>
      expect(Math.abs(activation - expected[step]!) / scale, `activation after step ${step}`).toBeLessThan(
        ofActivation,
      ),
    );

    expect(image.shape).toEqual([3, height, width]);
    const { data, shape } = reference.get('image')!;
    const [, rows, columns] = shape as readonly [number, number, number];
    let apart = 0;
    for (let c = 0; c < 3; c++) {
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const found = image.data[(c * height + row * stride) * width + column * stride]!;
          apart = Math.max(apart, Math.abs(found - Number(data[(c * rows + row) * columns + column])));
        }
      }
    }
    expect(apart).toBeLessThan(ofPixel);
    const [mean, deviation] = reference.get('moments')!.data as Float32Array;
    const own = image.data.reduce((total, value) => total + value, 0) / image.data.length;
    const spread = Math.sqrt(
      image.data.reduce((total, value) => total + (value - own) ** 2, 0) / (image.data.length - 1),
    );
    expect(Math.abs(own - mean!)).toBeLessThan(ofMoment);
    expect(Math.abs(spread - deviation!)).toBeLessThan(ofMoment);
  });
});
