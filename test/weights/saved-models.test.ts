import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { plainCard } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';
import { findPython, runPython } from '../support/python.js';

const python = findPython();
const folder = mkdtempSync(path.join(tmpdir(), 'saved-models-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// As save_models.py has it: in doubles, rounded once.
const image = {
  data: Float32Array.from({ length: 3 * 224 * 224 }, (_, i) => Math.sin(0.37 * i)),
  shape: [1, 3, 224, 224],
};

describe.runIf(python !== null)("a library's own model, saved by torch.save", () => {
  beforeAll(() => runPython(python!, ['test/weights/save_models.py', folder]));

  it.each([
    'resnet18',
    'resnet50',
    'convnext_tiny',
    'swin_tiny_patch4_window7',
    'vit_tiny_patch16',
    'deit_tiny_distilled_patch16',
  ])('is found and gives PyTorch scores: %s', async (name) => {
    // Operator for operator: batch norms folded into convolutions would round otherwise.
    const expected = JSON.parse(readFileSync(path.join(folder, `${name}.scores.json`), 'utf8')) as number[];
    await using model = await Model.load(path.join(folder, `${name}.pth`), {
      device: 'cpu',
      optimize: false,
      card: plainCard(224, 224),
    });
    const scores = async (seed = 0): Promise<number[]> => {
      const { predictions } = (await model.predict(nudged(image, seed), { top: 1000 }))[0]!;
      expect(predictions).toHaveLength(1000);
      return predictions.toSorted((a, b) => a.index - b.index).map(({ score }) => score);
    };
    await expectRounded(await scores(), expected, 'the scores', { model, again: scores });
    // Flat scores would agree with anything.
    expect(Math.max(...expected)).toBeGreaterThan(0.002);
  });
});
