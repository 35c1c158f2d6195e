import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import type { Naming } from '../../lib/models/card.js';
import { skeletonOf } from '../../lib/models/catalog.js';
import { planWeights } from '../../lib/weights/plan.js';
import { readHeader } from '../../lib/weights/safetensors.js';
import { findPython, ROOT, runPython } from '../support/python.js';

const python = findPython();
const folder = mkdtempSync(path.join(tmpdir(), 'sources-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Comparison {
  readonly difference: number;
  readonly largest: number;
  readonly equal: boolean;
  /** How far float32 leaves the logits open. */
  readonly open: number;
}

/**
 * Seeded weights of the library's own model, set into the skeleton by the plan; how far its logits are from the
 * model's.
 */
async function compare(architecture: string, naming: Naming, size?: number): Promise<Comparison> {
  const file = path.join(folder, `${architecture}.${naming}.safetensors`);
  const other = (suffix: string): string => file.replace(/safetensors$/, suffix);
  await runPython(python!, [
    'models/skeletons.py',
    '--weights',
    architecture,
    '--naming',
    naming,
    '--classes',
    '7',
    '--seed',
    '3',
    '--out',
    file,
    ...(size ? ['--size', String(size)] : []),
  ]);
  const config = JSON.parse(readFileSync(other('config.json'), 'utf8')) as { layer_norm_eps?: number };
  const { archive, card } = await skeletonOf(architecture);
  const plan = planWeights(card, [file], [await readHeader(file, 0)], 'auto', { layerNormEps: config.layer_norm_eps });
  writeFileSync(other('plan.json'), JSON.stringify(plan));
  const answer = await runPython(python!, [
    path.join(ROOT, 'test/weights/apply_plan.py'),
    archive,
    other('plan.json'),
    other('reference.safetensors'),
  ]);
  rmSync(file);
  return JSON.parse(answer) as Comparison;
}

// Of a skeleton's own library they are compared by models/skeletons.py --check and from end to end.
describe.skipIf(python === null)('weights by the names of other libraries', () => {
  it.each([
    ['resnet18', 'torchvision'],
    ['swin_tiny_patch4_window7', 'torchvision'],
    ['convnext_tiny', 'torchvision'],
    ['vit_tiny_patch16', 'huggingface', 96],
    ['deit_tiny_distilled_patch16', 'huggingface'],
    ['resnet18', 'huggingface'],
  ] as const)(
    '%s by the names of %s gives the logits of its own model to the bit',
    async (architecture, naming, size?: number) => {
      const { equal, largest } = await compare(architecture, naming, size);
      expect(largest).toBeGreaterThan(0.1);
      expect(equal).toBe(true);
    },
  );

  // Other kernels and, in the last norm, another epsilon.
  it.each([
    ['vit_base_patch32', 'torchvision'],
    ['convnext_tiny', 'huggingface'],
    ['swin_tiny_patch4_window7', 'huggingface'],
  ] as const)('%s by the names of %s gives them to rounding', async (architecture, naming) => {
    const { difference, largest, open } = await compare(architecture, naming);
    expect(largest).toBeGreaterThan(0.1);
    // An epsilon of at most 1e-6 beside a variance of a tenth or more: half of their quotient is what a norm changes.
    expect(difference).toBeLessThanOrEqual(open + (1e-6 / 0.1 / 2) * largest);
  });
});
