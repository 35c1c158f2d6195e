import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { METHOD_NAMES, Model, symbolic, type Explanation, type ModelInspection } from '../../lib/index.js';
import { FEW_SAMPLES } from '../support/few-samples.js';
import { archivePath, plainCard, randomTensor } from '../support/models.js';
import { findPython, ROOT, runPython } from '../support/python.js';

/** What only LibTorch, its interpreter or C++ would say. */
const FOREIGN_WORDS =
  /aten::|prim::|c10|at::|torch::|INTERNAL ASSERT|RuntimeError|Exception raised|TorchScript interpreter|\bTensor\b|\.cpp|\.h:\d|Expected .* but got|dimension out of range|undefined/i;

/** These hold no images' classifier that could be loaded, or only one that is refused as a whole. */
const REFUSED = ['mlp', 'two-inputs'];

/** One sentence or two for a person: no line break, no dump, an end. */
function expectSentence(message: string): void {
  expect(message).not.toMatch(FOREIGN_WORDS);
  expect(message).not.toMatch(/\n/);
  expect(message.length).toBeLessThan(600);
}

/** Sizes of images, by the longest name that an archive's begins with; as test/parity made them. */
const SIZES: Readonly<Record<string, readonly [height: number, width: number]>> = {
  'torchvision-resnet': [32, 48],
  'torchvision-vit': [32, 32],
  'torchvision-swin': [24, 36],
  timm: [24, 40],
  transformers: [24, 40],
  'transformers-resnet': [32, 48],
  'transformers-dinov2': [32, 40],
  'conv-net': [32, 48],
  'quantised-static': [32, 48],
  'quantised-dynamic': [8, 8],
  linear: [16, 16],
};

function sizeOf(archive: string): readonly [height: number, width: number] {
  const [name] = Object.keys(SIZES)
    .filter((prefix) => archive.startsWith(prefix))
    .sort((a, b) => b.length - a.length);
  return SIZES[name!]!;
}

/** A score where the model has no classes: the sum of all that it returns. */
function scoreOf({ outputShape }: ModelInspection): (run: symbolic.Run) => symbolic.Value {
  const axes = outputShape.length === 4 ? (['classes', 'height', 'width'] as const) : (['boxes', 'values'] as const);
  return ({ output }) => symbolic.sum(output, [...axes]);
}

/**
 * Runs every method on one image. Those that are listed as applying give a finite map, the others are refused for the
 * reason that is listed; both under the name of the method, so that one report shows all.
 */
async function brokenPromises(model: Model): Promise<Record<string, string>> {
  const inspection = await model.inspect();
  const { height, width } = inspection;
  const image = randomTensor(1, height, width, 23);
  const broken: Record<string, string> = {};
  for (const name of METHOD_NAMES) {
    const { applies, reason } = inspection.methods.find((method) => method.name === name)!;
    const unscored = inspection.classes === 0;
    let score: object = {};
    if (unscored) score = { score: scoreOf(inspection) };
    const ask = (more: object): Promise<Explanation[]> =>
      model.explain(image, {
        method: name,
        ...FEW_SAMPLES[name],
        ...(name === 'occlusion' && { window: 4, stride: 4 }),
        ...more,
        size: 'grid',
        raw: true,
      } as never);
    try {
      // A method that explains no class takes no score.
      const [{ maps }] = (await ask(score).catch((error: { code?: string; message: string }) => {
        if (unscored && error.code === 'INVALID_OPTION' && error.message.includes('explains no score')) return ask({});
        throw error;
      })) as [Explanation];
      if (!applies) broken[name] = `runs, though: ${reason}`;
      else if (maps.some(({ data }) => data.some((value) => !Number.isFinite(value)))) {
        broken[name] = 'gives a map that is not finite';
      } else if (maps.some(({ data }) => data.length === 0)) broken[name] = 'gives no map';
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      try {
        expectSentence(message);
        if (applies) broken[name] = `is said to apply, and fails: ${code} ${message}`;
        else if (code !== 'METHOD_NOT_APPLICABLE') {
          broken[name] = `does not apply, and is refused by ${code}: ${message}`;
        } else if (!message.includes(reason!)) broken[name] = `is refused by "${message}", and listed with "${reason}"`;
      } catch {
        broken[name] = `speaks to its user so: ${code} ${message}`;
      }
    }
  }
  return broken;
}

describe('what inspect lists as applying runs, and the rest is refused in a sentence', () => {
  const archives = readdirSync(`${ROOT}test/parity/archives`)
    .map((file) => file.replace('.pt', ''))
    .filter((name) => !REFUSED.includes(name));
  it.each(archives)('%s', async (name) => {
    await using model = await Model.load(archivePath(name), { device: 'cpu', card: plainCard(...sizeOf(name)) });
    expect(await brokenPromises(model)).toEqual({});
  });

  const python = findPython();
  describe.skipIf(python === null)('graphs as people export them', () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'sightline-promise-'));
      await runPython(python!, ['test/graphs/models.py', folder]);
    });
    afterAll(() => rm(folder, { recursive: true, force: true }));

    it('all of them', async () => {
      const broken: Record<string, Record<string, string>> = {};
      for (const file of await readdir(folder)) {
        if (!file.endsWith('.pt')) continue;
        await using model = await Model.load(join(folder, file), { device: 'cpu', card: plainCard(32, 32) });
        const found = await brokenPromises(model);
        if (Object.keys(found).length > 0) broken[file] = found;
      }
      expect(broken).toEqual({});
    });
  });
});
