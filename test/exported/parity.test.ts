import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { findPython, runPython } from '../support/python.js';
import { compare, compareSkeleton, type Compared } from './comparison.mjs';

const python = findPython();
const folder = mkdtempSync(path.join(tmpdir(), 'exported-parity-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One of each family; docs/exported-programs.md has all. */
const NAMES = [
  'timm-vit-fused-traced',
  'timm-resnet-traced',
  'torchvision-swin-traced',
  'transformers-vit-sdpa-traced',
];
const FORMS = ['training', 'inference', 'core'];

const SKELETONS = ['test_vit', 'test_resnet', 'test_convnext'];

function expectSame(compared: readonly Compared[]): void {
  expect(compared).toHaveLength(FORMS.length);
  for (const each of compared) {
    expect(each.scores).toBeLessThan(1e-6);
    expect(each.missing).toEqual([]);
    expect(each.areSitesSame).toBe(true);
    expect(each.isTargetLayerSame).toBe(true);
    expect(each.lost).toEqual([]);
    expect(each.maps).toBeGreaterThanOrEqual(30);
    // Maps that divide by what is nearly nothing magnify rounding: test/parity promises as much.
    expect(each.worst.difference).toBeLessThan(1e-5);
    expect(each.worstFeature).toBeLessThan(1e-5);
  }
}

describe.runIf(python !== null)('a program, beside another form of the same model', () => {
  const programs = (name: string): string[] => FORMS.map((form) => path.join(folder, `${name}.${form}.pt2`));
  beforeAll(async () => {
    await runPython(python!, ['test/exported/export_parity.py', folder, ...NAMES]);
    await runPython(python!, ['test/exported/export_skeletons.py', folder, ...SKELETONS]);
  });

  it.each(NAMES)('the archive of %s: has the same scores, names, attention, target layer and maps', async (name) => {
    expectSame(await compare(name, programs(name)));
  });

  it.each(SKELETONS)('the skeleton %s: has the same scores, names, attention, target layer and maps', async (name) => {
    expectSame(await compareSkeleton(name, path.join(folder, `${name}.safetensors`), programs(name)));
  });
});
