import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { forge, pickle } from '../archives/forge.js';

/** A module whose output is computed by `expression` of the image `x`. */
const child = (name: string, expression: string): string => `class ${name}(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def forward(self: __torch__.forged.${name},
    x: Tensor) -> Tensor:
    return ${expression}
`;
const CHILDREN = {
  Whole: 'torch.to(torch.mul(x, 100.), 4)',
  Truth: 'torch.gt(x, 0)',
  Small: 'torch.to(torch.mul(x, 100.), 1)',
};

describe('modules that return no floating point', () => {
  let folder: string;
  let model: Model;
  const values = [0.5, -0.25, 1, 0, -1, 0.07, 0.11, 2, -3, 0.4, 0.6, -0.9];
  const image = { data: Float32Array.from(values), shape: [1, 3, 2, 2] };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sightline-'));
    const path = join(folder, 'whole.pt');
    const names = Object.keys(CHILDREN);
    const bytes = forge({
      before: Object.entries(CHILDREN)
        .map(([name, expression]) => child(name, expression))
        .join(''),
      members: names.map((name) => `  ${name.toLowerCase()} : __torch__.forged.${name}\n`).join(''),
      attributes: Object.fromEntries(
        names.map((name) => [name.toLowerCase(), pickle.object('__torch__.forged', name, { training: pickle.no })]),
      ),
      forward: `    a = (self.whole).forward(x)
    b = (self.truth).forward(x)
    c = (self.small).forward(x)
    y = torch.add(torch.add(torch.to(a, 6), torch.to(b, 6)), torch.to(c, 6))
    return torch.matmul(torch.mean(y, [2, 3]), self.weight)`,
    });
    await writeFile(path, bytes);
    const card = {
      name: 'whole',
      input: {
        width: 2,
        height: 2,
        mean: [0, 0, 0],
        std: [1, 1, 1],
        resize: { mode: 'exact', size: [2, 2] },
        interpolation: 'bilinear',
        crop: 'none',
      },
    };
    model = await Model.load(path, { device: 'cpu', trust: true, card: card as never });
  });
  afterAll(async () => {
    await model.close();
    await rm(folder, { recursive: true });
  });

  it('are captured as the numbers that they are', async () => {
    const { features } = await model.capture(image, { features: ['whole', 'truth', 'small'] });
    const whole = values.map((value) => Math.trunc(Math.fround(Math.fround(value) * 100)));
    expect([...features['whole']!.data].map((value) => value + 0)).toEqual(whole.map((value) => value + 0));
    expect([...features['truth']!.data]).toEqual(values.map((value) => (value > 0 ? 1 : 0)));
    expect([...features['small']!.data]).toEqual(whole.map((value) => (value << 24) >> 24));
    expect(features['whole']!.shape).toEqual([1, 3, 2, 2]);
  });

  it('are captured of a batch too', async () => {
    const two = { data: Float32Array.from([...values, ...values.map((value) => -value)]), shape: [2, 3, 2, 2] };
    const { features } = await model.capture(two, { features: ['truth'] });
    expect([...features['truth']!.data]).toEqual([
      ...values.map((value) => (value > 0 ? 1 : 0)),
      ...values.map((value) => (value < 0 ? 1 : 0)),
    ]);
  });
});
