import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type MethodName, type NamedOptions } from '../../../lib/index.js';
import { plainCard } from '../../support/models.js';
import { expectWithin } from '../../support/rounding.js';
import { readSafetensors, relativeDifference } from '../../support/safetensors.js';
import { torchRand } from '../../support/torch-random.js';

const FOLDER = new URL('../../parity/methods/', import.meta.url);

/**
 * The archive's layer `features` is its input A, three channels of 2 x 2. The score of class 0 is
 * 4 a0 - 4 a1 + 8 a2 + 2 b0 - 4 b2, where a is a channel's mean and b the mean of its squares. So y = 5 and
 *   g0 = 1 + A0 = 2 1 3 2,  g1 = -1 everywhere,  g2 = 2 - 2 A2 = -2 -2 2 2,
 * and the Hessian is A's factor: H A = A0, 0, -2 A2.
 * The other logits are 4 a0 = 4, 7 a2 = 7, 11 a1 = 5.5 and -10 a0 = -10.
 */
const A = [
  [1, 0, 2, 1],
  [0, 3, -1, 0],
  [2, 2, 0, 0],
] as const;

/** Channels times weights, summed; negative parts cut off. */
const weighted = (...weights: readonly number[]): number[] =>
  A[0].map((_, i) =>
    Math.max(
      0,
      weights.reduce((sum, weight, k) => sum + weight * A[k]![i]!, 0),
    ),
  );

/**
 * A gradient here is rounded ten times at most, a channel's weight twelve (grad-cam++ adds up four quotients of three
 * roundings each), the sum over the channels five; the parts of no sum are larger than twice the largest of the map.
 */
const ROUNDINGS = 2 * (10 + 12 + 5);

const CASES: readonly (readonly [options: NamedOptions<MethodName>, map: readonly number[], why: string])[] = [
  [{ method: 'grad-cam' }, [2, 0, 5, 2], 'means of g are 2, -1, 0'],
  [{ method: 'grad-cam', compat: 'captum' }, [2, -3, 5, 2], 'the same without ReLU'],
  [{ method: 'hires-cam' }, [0, 0, 7, 2], 'gA sums to -2 -7 7 2'],
  [{ method: 'elementwise-grad-cam' }, [2, 0, 7, 2], 'positive gA: 2 0 6 2, 0 0 1 0, none'],
  [{ method: 'layer-cam' }, [2, 0, 6, 2], 'positive g: all of A0, none of A1, where A2 is 0'],
  [{ method: 'layer-cam', gamma: 2 }, [2, 0, 6, 2].map((value) => Math.tanh(value / 3)), 'tanh(2 M / 6)'],
  [{ method: 'xgrad-cam' }, [0, 0, 6, 2.5], 'weights 10 / 4, -2 / 2, -8 / 4'],
  [
    { method: 'grad-cam++' },
    weighted(2 / 10 + 1 / 6 + 3 / 14 + 2 / 10, 0, 2 / 10 + 2 / 10),
    'alpha = 1 / (2 + 4 g) in channels 0 and 2',
  ],
  [{ method: 'grad-cam++', compat: 'torch-cam' }, weighted(8 + 1 + 27 + 8, 0, 8 + 8), 'g cubed where positive'],
  [
    { method: 'grad-cam++', compat: 'xplique' },
    weighted(2 / 4 + 1 / 3 + 3 / 5 + 2 / 4, 0, 2 / 4 + 2 / 4),
    'alpha = 1 / (2 + g)',
  ],
  [
    { method: 'grad-cam++', compat: 'pytorch-grad-cam' },
    weighted(2 / 10 + 1 / 6 + 3 / 14 + 2 / 10, 0, 2 / 10 + 2 / 10),
    'its epsilon is nothing beside such gradients',
  ],
  [{ method: 'shapley-cam', utility: 'score' }, weighted(1.5, -1, 1), 'means of g - HA / 2'],
  [
    { method: 'fem', sigmas: 1 },
    [1, 0.5, 1, 0].map((value, i) => value + (i === 1 ? 1 : 0)),
    'means 1, 0.5, 1; above 1.71, 2 and at 2',
  ],
  [
    { method: 'fem', sigmas: 1, compat: 'pytorch-grad-cam' },
    weighted(1 / 4, 1 / 4, 0),
    'shares of strong places; 2 is not above 2',
  ],
  [
    { method: 'random-cam', seed: 9 },
    weighted(...Array.from(torchRand(9 * 1000003, 3), (value) => 2 * value - 1)),
    'torch.rand',
  ],
  [{ method: 'finer-cam' }, weighted(2 - 0.2, -1 - 0.2 * 2.75, -0.2 * 1.75), 'nearest are 5.5, 4 and 7'],
  [{ method: 'finer-cam', references: 1, strength: 1 }, weighted(2, -1 - 2.75, 0), 'nearest is 5.5'],
  [
    { method: 'finer-cam', references: 99 },
    weighted(2 - 0.15 * (1 - 2.5), -1 - 0.15 * 2.75, -0.15 * 1.75),
    'there are only four others',
  ],
  [{ method: 'finer-cam', strength: 0, base: 'layer-cam' }, [2, 0, 6, 2], 'nothing is compared'],
];

describe('worked out by hand', () => {
  let model: Model;
  const image = { data: Float32Array.from(A.flat()), shape: [1, 3, 2, 2] } as const;
  const plain = { layer: 'features', targets: [0], size: 'grid', raw: true } as const;

  beforeAll(async () => {
    model = await Model.load(fileURLToPath(new URL('cam-hand.pt', FOLDER)), { device: 'cpu', card: plainCard(2, 2) });
  });
  afterAll(() => model.close());

  it('is the model that it takes it for', async () => {
    const captured = await model.capture([image], { features: ['features'], gradients: { target: 0 } });
    expect([...captured.features['features']!.data]).toEqual(A.flat());
    expect([...captured.logits!.data]).toEqual([5, 4, 7, 5.5, -10]);
    expect([...captured.gradients!.features['features']!.data]).toEqual([2, 1, 3, 2, -1, -1, -1, -1, -2, -2, 2, 2]);
  });

  it.each(CASES.map(([options, map, why]) => [JSON.stringify(options), why, options, map] as const))(
    '%s: %s',
    async (_, _why, options, expected) => {
      const [explained] = await model.explain([image], { ...options, ...plain });
      expectWithin(explained!.maps[0]!.data, expected, ROUNDINGS, Math.max(...expected));
    },
  );

  it('divides by total activations that are next to nothing as each peer does, and by default exactly', async () => {
    const reference = readSafetensors(new URL('cam-hand.safetensors', FOLDER));
    const input = reference.get('input')!;
    const xGradCam = async (compat?: 'pytorch-grad-cam' | 'torch-cam'): Promise<Float32Array> => {
      const [explained] = await model.explain([{ data: input.data as Float32Array, shape: [1, 3, 2, 2] }], {
        method: 'xgrad-cam',
        ...(compat && { compat }),
        ...plain,
      });
      return explained!.maps[0]!.data;
    };
    // At such activations the score is linear: g is 1, -1, 2.
    const values = input.data as Float32Array;
    /** What a place adds up without the signs. */
    const parts = (place: number): number =>
      [1, 1, 2].reduce((sum, gradient, k) => sum + gradient * Math.abs(values[4 * k + place]!), 0);
    for (const peer of ['pytorch-grad-cam', 'torch-cam'] as const) {
      // The peer's are float32's too.
      expectWithin(await xGradCam(peer), reference.get(peer)!.data as Float32Array, 2 * ROUNDINGS, parts);
    }
    const exact = Float32Array.from({ length: 4 }, (_, i) =>
      [1, -1, 2].reduce((sum, gradient, k) => sum + gradient * values[4 * k + i]!, 0),
    ).map((value) => Math.max(0, value));
    expectWithin(await xGradCam(), exact, ROUNDINGS, parts);
    expect(relativeDifference(reference.get('pytorch-grad-cam')!.data as Float32Array, exact)).toBeGreaterThan(0.1);
  });
});
