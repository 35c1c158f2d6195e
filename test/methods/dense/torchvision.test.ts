import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type Explanation, type Predicted } from '../../../lib/index.js';
import { findPython, runPython } from '../../support/python.js';
import { expectRounded, nudged, type Pixels } from '../../support/rounding.js';

const python = findPython();

interface Expected {
  readonly image: number[];
  readonly index: number;
  readonly places: number;
  readonly score: number;
  readonly map: number[];
}

describe.skipIf(python === null)("torchvision's LR-ASPP as models/export.py writes it", () => {
  const SIZE = 64;
  let folder: string;
  let model: Model;
  let expected: Expected;
  let image: Pixels;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'sightline-segmenter-'));
    await runPython(python!, ['test/methods/dense/segmenter.py', folder]);
    expected = JSON.parse(await readFile(path.join(folder, 'expected.json'), 'utf8')) as Expected;
    image = { data: Float32Array.from(expected.image), shape: [1, 3, SIZE, SIZE] };
    model = await Model.load(path.join(folder, 'lraspp.pt'), { device: 'cpu' });
  }, 120_000);
  afterAll(async () => {
    await model.close();
    await rm(folder, { recursive: true, force: true });
  });
  const explain = async (pixels: Pixels): Promise<Explanation> =>
    (
      await model.explain(pixels, {
        method: 'grad-cam',
        layer: 'classifier.cbr',
        targets: [{ mask: expected.index }],
        size: 'grid',
        raw: true,
      })
    )[0]!;

  it('has the labels of its card', async () => {
    const [{ predictions }] = (await model.predict(image)) as [Predicted];
    const [best] = predictions;
    expect(best!.index).toBe(expected.index);
    expect(best!.score).toBeCloseTo(expected.places / SIZE ** 2, 5);
    const { labels } = JSON.parse(await readFile(path.join(folder, 'lraspp.json'), 'utf8')) as { labels: string[] };
    expect(labels).toHaveLength(21);
    expect(best!.label).toBe(labels[expected.index]);
    expect((await model.inspect()).dense).toEqual({
      kind: 'masks',
      classes: 21,
      height: SIZE,
      width: SIZE,
      isClassesLast: false,
    });
  });

  it("explains a class by Grad-CAM as PyTorch's gradients in float64 do", async () => {
    const { maps } = await explain(image);
    const { target, data } = maps[0]!;
    expect([target.index, target.places]).toEqual([expected.index, expected.places]);
    const again = async (seed: number): Promise<Float32Array> => (await explain(nudged(image, seed))).maps[0]!.data;
    await expectRounded(data, expected.map, 'the map', { model, again });
    await expectRounded([target.score], [expected.score], 'the score', {
      model,
      again: async (seed) => [(await explain(nudged(image, seed))).maps[0]!.target.score],
    });
  });
});
