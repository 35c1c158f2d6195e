import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import type { BlockDescription } from '../../lib/engine/plan-description.js';
import { Model } from '../../lib/index.js';
import { parseExplainOptions } from '../../lib/requests/explain-options.js';
import { recordExplanations, withLayers } from '../../lib/requests/explain-plan.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(`${ROOT}docs/architecture.md`, 'utf8');

describe('docs/architecture.md', () => {
  it('names files and folders that are there', () => {
    const named = [...page.matchAll(/`([\w/.-]+(?:\.(?:cc|h|ts|mjs)|\/))`/g)].map(([, file]) => file!);
    expect(new Set(named).size).toBeGreaterThan(60);
    const roots = ['', 'lib/', 'lib/methods/', 'lib/symbolic/', 'native/engine/', 'native/engine/steps/'];
    const isThere = (file: string): boolean =>
      roots.some((root) => existsSync(`${ROOT}${root}${file}`)) ||
      // By the name alone, where the room was named before.
      ['guard'].some((room) => existsSync(`${ROOT}native/engine/${room}/${file}`));
    expect([...new Set(named)].filter((file) => !isThere(file))).toEqual([]);
  });

  it('has the steps of the five methods that were the hardest to read', async () => {
    await using model = await Model.load('vit-tiny-shapes', { device: 'cpu' });
    const inspection = await model.inspect();
    const rows = [
      ...page.matchAll(/^\| ([\w+-]+)(?: \(`variant: '([\w-]+)'`\))? \| \d+, now \d+ \| (\d+), now (\d+) \|$/gm),
    ];
    expect(rows.map(([, method]) => method)).toEqual([
      'attention-norms',
      'value-zeroing',
      'vit-cx',
      'smooth-grad-cam++',
      'rise',
    ]);
    const stepsOf = ({ steps }: BlockDescription): number =>
      steps.reduce((sum, { body }) => sum + 1 + (body === undefined ? 0 : stepsOf(body)), 0);
    for (const [, method, variant, before, now] of rows) {
      const request = parseExplainOptions({
        method,
        size: 'grid',
        raw: true,
        ...(variant !== undefined && { variant }),
      });
      const plan = recordExplanations([withLayers(request, inspection, undefined)], inspection, model.card);
      expect(stepsOf(plan.block), method).toBe(Number(now));
      expect(Number(now)).toBeLessThanOrEqual(Number(before));
    }
  });
});
