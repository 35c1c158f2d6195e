import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type Tensor } from '../../lib/index.js';
import { plainCard } from '../support/models.js';
import { findPython } from '../support/python.js';
import { exportModels } from './exports.js';

interface Expected {
  /** After softmax. */
  readonly scores: number[];
  /** Null where PyTorch finds none. */
  readonly gradient: number[] | null;
  readonly rounding?: number;
}

const python = findPython();

/** Float32's own rounding of numbers around 1, after some dozens of operations. */
const FLOAT32 = 2 ** -19;

/** They read memory by address, or make as many numbers as the largest value says. */
const UNTRUSTED = ['as_strided', 'bincount'];

const METHODS = [
  'grad-cam',
  'full-grad',
  'guided-backprop',
  'deconvnet',
  'integrated-gradients',
  'smooth-grad',
] as const;

describe.skipIf(python === null)('a network around each operator', () => {
  let folder: string;
  let image: { data: Float32Array; shape: [number, number, number, number] };
  let models: Record<string, Expected>;
  beforeAll(async () => {
    const made = await exportModels(python!, 'operator_models.py');
    folder = made.folder;
    const { image: given, models: expected } = made.expected as unknown as { image: Tensor; models: typeof models };
    image = { data: Float32Array.from(given.data), shape: [1, 3, 32, 32] };
    models = expected;
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const difference = (found: ArrayLike<number>, wanted: readonly number[]): number => {
    expect(found.length).toBe(wanted.length);
    return Math.max(...wanted.map((value, i) => Math.abs(value - found[i]!)));
  };
  const largest = (values: readonly number[]): number => Math.max(...values.map(Math.abs));

  /** What is wrong; empty where nothing is. */
  async function faultsOf(name: string, { scores, gradient, rounding = 0 }: Expected): Promise<string[]> {
    const faults: string[] = [];
    await using model = await Model.load(join(folder, `${name}.pt`), { device: 'cpu', card: plainCard(32, 32) });
    const [answer] = await model.predict(image, { top: 10 });
    const found = [...answer!.predictions].sort((a, b) => a.index - b.index).map(({ score }) => score);
    if (difference(found, scores) > FLOAT32) faults.push(`scores: ${found.join()}`);
    const explain = (method: (typeof METHODS)[number] | 'gradient'): Promise<Float32Array> =>
      model
        .explain(image, {
          method,
          targets: [3],
          size: 'grid',
          raw: true,
          ...(method === 'smooth-grad' && { samples: 2 }),
        })
        .then(([explanation]) => explanation!.maps[0]!.data);
    const { methods } = await model.inspect();
    for (const method of [...METHODS, 'gradient'] as const) {
      const { applies, reason } = methods.find((each) => each.name === method)!;
      const map = await explain(method).catch((error: { code: string; message: string }) => error);
      if (!('length' in map)) {
        const isSaid = !applies && map.code === 'METHOD_NOT_APPLICABLE' && map.message.includes(reason!);
        if (!isSaid) faults.push(`${method} applies: ${applies}, and fails: ${map.code} ${map.message}`);
      } else if (!applies || map.some((value) => !Number.isFinite(value))) {
        faults.push(`${method} applies: ${applies}, and gives ${map.slice(0, 3).join()}`);
      }
      if (method !== 'gradient') continue;
      if (gradient === null) {
        if (!/no gradient of the scores passes|has no derivative/.test(reason ?? '')) {
          faults.push(`gradient: ${reason}`);
        }
      } else if ('length' in map) {
        const off = difference(map, gradient);
        if (off > 4 * rounding + FLOAT32 * largest(gradient)) {
          faults.push(`gradient: off by ${off} of ${largest(gradient)}`);
        }
      } else faults.push(`gradient: ${map.message}`);
    }
    return faults;
  }

  it("has PyTorch's scores and gradient, or says why it has none", async () => {
    const faults: Record<string, string[]> = {};
    for (const [name, expected] of Object.entries(models)) {
      if (UNTRUSTED.includes(name) || name === 'no_grad_in_place') continue;
      const found = await faultsOf(name, expected).catch((error: Error) => [error.message]);
      if (found.length > 0) faults[name] = found;
    }
    expect(faults).toEqual({});
  });

  it.each(UNTRUSTED)('%s is not trusted', async (name) => {
    await expect(Model.load(join(folder, `${name}.pt`), { device: 'cpu' })).rejects.toMatchObject({
      code: 'UNTRUSTED_ARCHIVE',
    });
  });

  // PyTorch leaves the gradient as if nothing had been written, which no straight graph says.
  it('is refused where torch.no_grad() writes into what was made before it', async () => {
    await expect(Model.load(join(folder, 'no_grad_in_place.pt'), { device: 'cpu' })).rejects.toMatchObject({
      code: 'UNSUPPORTED_MODEL',
      message: expect.stringContaining('changes a tensor in place in torch.no_grad()') as string,
    });
  });

  it.each([
    ['detach', 'no gradient of the scores passes its operator "detach" at "after"'],
    ['no_grad_alone', 'no gradient of the scores passes its operator "detach" at "part"'],
    ['step_alone', 'no gradient of the scores passes its operator "gt" at "after"'],
    ['argmax_alone', 'no gradient of the scores passes its operator "argmax" at "after"'],
    ['heaviside', 'its operator "heaviside" at "after" has no derivative'],
  ])('%s: layers after it have a gradient, those before it and the image have none', async (name, reason) => {
    await using model = await Model.load(join(folder, `${name}.pt`), { device: 'cpu', card: plainCard(32, 32) });
    const inspection = await model.inspect();
    expect(inspection.gradientObstacle).toBe(reason);
    const obstacles = Object.fromEntries(inspection.nodes.map((node) => [node.name, node.gradientObstacle]));
    expect(obstacles).toMatchObject({ features: reason, 'features.0': reason, after: '' });
    await expect(model.explain(image, { method: 'grad-cam', layer: 'features.2' })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringContaining(reason) as string,
    });
    const [explanation] = await model.explain(image, { method: 'grad-cam', layer: 'after' });
    expect(explanation!.maps).toHaveLength(1);
  });
});
