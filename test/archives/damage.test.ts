import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, describe, expect, it } from 'vitest';

import { archivePath } from '../support/models.js';
import { expectEnding, runChild } from '../lifecycle/child.js';

interface Report {
  readonly seed: number;
  readonly archive: string;
  readonly code: string;
  readonly message: string;
  readonly milliseconds: number;
}

const CHILD = new URL('./children/damage.mjs', import.meta.url);
const scratch = mkdtempSync(join(tmpdir(), 'sightline-damage-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Small archives of every kind: traced, scripted, frozen, quantised; and one that came with the package. */
const SMALL = [
  'mlp',
  'conv-net',
  'quantised-static',
  'quantised-dynamic',
  'timm-vit-fused-scripted',
  'torchvision-resnet-frozen',
].map(archivePath);
const BUNDLED = fileURLToPath(new URL('../../models/resnet-tiny-shapes.pt', import.meta.url));

/** Codes that a damaged archive may be answered with; most of all not by the end of the process. */
const TYPED = new Set([
  'UNTRUSTED_ARCHIVE',
  'NOT_TORCHSCRIPT',
  'UNSUPPORTED_MODEL',
  'INVALID_INPUT',
  'OUT_OF_MEMORY',
  'LOADED',
]);

async function damageAll(
  kind: 'bytes' | 'contents',
  first: number,
  count: number,
  archives: readonly string[],
): Promise<Report[]> {
  const folder = join(scratch, `${kind}-${first}`);
  mkdirSync(folder);
  const ending = await runChild(CHILD, { args: [kind, String(first), String(count), folder, ...archives] });
  expectEnding(ending);
  const reports = ending.reports as Report[];
  expect(reports.length).toBe(count);
  expect(reports.filter(({ code }) => !TYPED.has(code))).toEqual([]);
  // Nothing but what the child itself wrote.
  expect(readdirSync(folder).filter((name) => !name.startsWith(kind))).toEqual([]);
  return reports;
}

describe('damaged archives', () => {
  it('are refused or loaded, 440 small ones by seed', async () => {
    const reports = await damageAll('bytes', 0, 440, SMALL);
    // Only bytes that nobody reads may be damaged unnoticed: weights have checksums as well.
    expect(reports.filter(({ code }) => code === 'LOADED').length).toBeLessThan(66);
    expect(Math.max(...reports.map(({ milliseconds }) => milliseconds))).toBeLessThan(5000);
  });

  it('are refused or loaded, 60 of 3.7 MB by seed', async () => {
    const reports = await damageAll('bytes', 1000, 60, [BUNDLED]);
    expect(Math.max(...reports.map(({ milliseconds }) => milliseconds))).toBeLessThan(5000);
  });

  it('are refused or loaded where checksums and sizes were set right again', async () => {
    const reports = await damageAll('contents', 2000, 500, SMALL);
    expect(Math.max(...reports.map(({ milliseconds }) => milliseconds))).toBeLessThan(5000);
  });
});
