import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { afterAll, describe, expect, it } from 'vitest';

import { decodeImage } from '../../lib/images/source.js';
import { Model, type MethodName, type NamedOptions } from '../../lib/index.js';

interface Picture {
  readonly file: string;
  readonly mask: string;
  readonly objects: readonly { readonly label: string; readonly index: number }[];
}

const FOLDER = new URL('../../models/eval/', import.meta.url);
const PICTURES = (JSON.parse(readFileSync(new URL('index.json', FOLDER), 'utf8')) as Picture[]).filter(
  ({ objects }) => objects.length === 2,
);
const CLASS_SPECIFIC: [model: string, methods: MethodName[]][] = [
  ['resnet-tiny-shapes', ['cam', 'grad-cam']],
  ['vit-tiny-shapes', ['grad-cam', 'gradient-rollout', 'gae']],
];
const pathOf = (file: string): string => fileURLToPath(new URL(file, FOLDER));
const figures: string[] = [];

/** How often the map's maximum lies in the mask of the object that was asked for. */
async function point(model: Model, method: MethodName): Promise<{ hits: number; cases: number; mostAlike: number }> {
  const explained = await model.explain(
    PICTURES.map(({ file }) => pathOf(file)),
    { method, targets: PICTURES.map(({ objects }) => objects.map(({ index }) => index)) } as NamedOptions<MethodName>,
  );
  let hits = 0;
  let mostAlike = Infinity;
  for (const [i, picture] of PICTURES.entries()) {
    const mask = await decodeImage(pathOf(picture.mask));
    const { maps } = explained[i]!;
    for (const [o, map] of maps.entries()) {
      const { row, column } = map.peak();
      // The mask's grey value is the number of the object, from 1.
      if (map.state === 'ok' && mask.data[(row * mask.width + column) * 3] === o + 1) hits++;
    }
    const difference =
      maps[0]!.data.reduce((sum, value, at) => sum + Math.abs(value - maps[1]!.data[at]!), 0) / maps[0]!.data.length;
    mostAlike = Math.min(mostAlike, difference);
  }
  return { hits, cases: PICTURES.length * 2, mostAlike };
}

describe.each(CLASS_SPECIFIC)('%s points at the object that is asked for', (name, methods) => {
  it('was trained on two-object pictures that it never saw', () => {
    expect(PICTURES.length).toBeGreaterThanOrEqual(50);
  });

  it.each(methods)('%s: in at least 90 % of cases, and differently for each class', async (method) => {
    await using model = await Model.load(name, { device: 'cpu' });
    const { hits, cases, mostAlike } = await point(model, method);
    figures.push(`${name} ${method}: ${hits} of ${cases}`);
    expect(hits / cases).toBeGreaterThanOrEqual(0.9);
    expect(mostAlike).toBeGreaterThan(0);
  });
});

it('plain rollout does not know the class', async () => {
  await using model = await Model.load('vit-tiny-shapes', { device: 'cpu' });
  const { hits, cases, mostAlike } = await point(model, 'attention-rollout');
  figures.push(`vit-tiny-shapes attention-rollout: ${hits} of ${cases}`);
  expect(mostAlike).toBe(0);
  // One map for two objects can lie in one mask at most.
  expect(hits).toBeLessThanOrEqual(cases / 2);
});

afterAll(() => {
  console.log(`Pointing on ${PICTURES.length} held-out pictures:\n  ${figures.join('\n  ')}`);
});
