import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect, it } from 'vitest';

import { bundledModels, DEFAULT_MODEL, Model } from '../../lib/index.js';

const cards = await bundledModels();

it('are the three that ship, each with its card', () => {
  expect(cards.map(({ name }) => name)).toEqual(['efficientnet-lite0', 'resnet-tiny-shapes', 'vit-tiny-shapes']);
  expect(cards.map(({ name }) => name)).toContain(DEFAULT_MODEL);
  for (const { name, description, input, sha256, labels } of cards) {
    expect(existsSync(fileURLToPath(new URL(`../../models/${name}.json`, import.meta.url)))).toBe(true);
    expect(description).toMatch(/\w/);
    expect(input.width).toBeGreaterThan(0);
    expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(labels).toBeDefined();
  }
});

it.each(cards.map((card) => [card.name, card] as const))('%s loads by its name, with that card', async (name, card) => {
  await using model = await Model.load(name, { device: 'cpu' });
  expect(model.card).toEqual(card);
  // What was noted is for reading.
  expect(Object.isFrozen(model.notes)).toBe(true);
  expect(() => (model.notes as string[]).push('mine')).toThrow(TypeError);
});
