import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { checkArchive } from '../../lib/archives/check.js';
import { loadSmall, plainCard } from '../support/models.js';

const PARITY = fileURLToPath(new URL('../parity/', import.meta.url));
const archives = readdirSync(PARITY, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.pt'));

describe('archives of torchvision, timm and transformers', () => {
  it('are there', () => {
    expect(archives.length).toBeGreaterThan(35);
  });

  it.each(archives)('%s passes the checks before loading', async (name) => {
    const checked = await checkArchive(join(PARITY, name));
    await checked.verifyWeights().finally(() => checked.close());
  });

  // What the compiled graphs hold is only known after loading: scripted and quantised ones hold the most.
  it.each([
    'timm-vit-unfused-scripted',
    'timm-swin-scripted',
    'torchvision-swin-scripted',
    'torchvision-resnet-scripted',
    'quantised-static',
  ])('%s passes the checks of its operators', async (name) => {
    await using model = await loadSmall(name);
    expect(model.labels.length).toBeGreaterThan(0);
  });

  it.each([
    ['torchvision-vit-scripted', 32, 32],
    ['torchvision-vit-traced-no-grad', 32, 32],
    ['quantised-dynamic', 8, 8],
  ])('%s passes the checks of its operators', async (name, height, width) => {
    await using model = await loadSmall(name, { card: plainCard(height, width) });
    expect(model.labels.length).toBeGreaterThan(0);
  });
});
