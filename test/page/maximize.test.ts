import { readFileSync } from 'node:fs';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { CHROMIUM, CNN, pixelsOf, usePage, VIT } from './support.js';

const PICTURE = '.made-picture';

describe.skipIf(CHROMIUM === undefined)('activation maximization on the page', () => {
  const { models, open, health } = usePage();

  it('makes the picture that the library makes, tells of it on the way, and comes back by its link', async () => {
    const { page, complaints } = await open();
    await page.getByRole('button', { name: 'Maximize' }).click();
    expect(await page.getByRole('combobox', { name: 'Class', exact: true }).inputValue()).toBe('tiger cat');
    await page.getByRole('combobox', { name: 'Model', exact: true }).selectOption(VIT);
    await page.getByRole('combobox', { name: 'What', exact: true }).selectOption('head');
    await page.getByRole('combobox', { name: 'Block', exact: true }).selectOption('2');
    await page.getByRole('combobox', { name: 'Head', exact: true }).selectOption('3');
    await page.getByLabel('Steps').fill('16');
    await page.getByLabel('Seed').fill('5');
    const answer = page.waitForResponse((response) => response.url().endsWith('/maximize'));
    await page.getByRole('button', { name: 'Make the picture' }).click();
    const lines = (await (await answer).text()).trimEnd().split('\n');
    expect(lines.length).toBeGreaterThan(1);
    await page.getByRole('button', { name: 'Save it' }).waitFor();
    expect(await page.locator('.progress').textContent()).toBe('16 of 16 steps');

    const asked = { node: 'blocks.2.attn', head: 3, steps: 16, seed: 5 };
    const made = await models()[VIT]!.maximize(asked);
    const expected = made.image.pixels();
    const expectPicture = async (of: typeof page): Promise<void> => {
      const pixels = await pixelsOf(of, PICTURE);
      expect([pixels.width, pixels.height]).toEqual([expected.width, expected.height]);
      const seen = pixels.data.filter((_, i) => i % 4 !== 3);
      expect(Buffer.from(seen).equals(Buffer.from(expected.data))).toBe(true);
    };
    await expectPicture(page);
    expect(await page.locator('.curve svg').getAttribute('aria-label')).toMatch(/in 16 steps$/);

    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Save it' }).click();
    const saved = await sharp(readFileSync(await (await download).path()))
      .removeAlpha()
      .raw()
      .toBuffer();
    expect(saved.equals(Buffer.from(expected.data))).toBe(true);

    // The address follows when all is at rest.
    await page.waitForFunction(() => atob(location.hash.slice(1).replace(/-/g, '+')).includes('"seed":5'));
    const again = await open(new URL(page.url()).hash);
    await again.page.getByRole('button', { name: 'Save it' }).waitFor();
    await expectPicture(again.page);
    expect(await again.page.getByRole('combobox', { name: 'Head', exact: true }).inputValue()).toBe('3');

    // Explained like any other picture.
    await page.getByRole('button', { name: 'Explain this picture' }).click();
    await page.locator('.panel .legend').nth(1).waitFor();
    expect(await page.locator('.panel').count()).toBe(2);
    expect([...complaints, ...again.complaints]).toEqual([]);
  });

  it('ends in the engine when it is stopped, displaced, and left', async () => {
    const { page, complaints } = await open();
    await page.getByRole('button', { name: 'Maximize' }).click();
    await page.getByRole('combobox', { name: 'Model', exact: true }).selectOption(CNN);
    await page.getByLabel('Steps').fill('512');
    const start = page.getByRole('button', { name: 'Make the picture' });
    const running = async (count: number): Promise<void> => {
      while (health().inFlight !== count) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await start.click();
    await running(1);
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByText('stopped').waitFor();
    await running(0);
    await start.click();
    await running(1);
    await page.getByLabel('Seed').fill('1');
    await start.click();
    // The one before is let go of: never do two go on side by side for long.
    await running(1);
    await page.getByRole('button', { name: 'Sheet' }).click();
    await page.locator('.sheet figcaption').first().waitFor();
    await page.getByRole('button', { name: 'Maximize' }).click();
    await page.getByRole('button', { name: 'Stop' }).click();
    await running(0);
    expect(complaints).toEqual([]);
  });

  it('offers channels of every node, and says why something cannot be made', async () => {
    const { page, complaints } = await open();
    await page.getByRole('button', { name: 'Maximize' }).click();
    await page.getByRole('combobox', { name: 'Model', exact: true }).selectOption(CNN);
    await page.getByRole('combobox', { name: 'What', exact: true }).selectOption('channel');
    const { nodes } = await models()[CNN]!.inspect();
    await page
      .getByRole('combobox', { name: 'Node', exact: true })
      .locator('option')
      .nth(10)
      .waitFor({ state: 'attached' });
    const offered = await page.getByRole('combobox', { name: 'Node', exact: true }).locator('option').allTextContents();
    expect(offered).toEqual(
      nodes.filter(({ layout, name }) => layout !== 'other' && name !== '').map(({ name }) => name),
    );
    await page.getByRole('combobox', { name: 'What', exact: true }).selectOption('class');
    await page.getByRole('combobox', { name: 'Class', exact: true }).fill('no such thing');
    await page.getByRole('combobox', { name: 'Class', exact: true }).blur();
    await page.getByRole('button', { name: 'Make the picture' }).click();
    expect(await page.locator('input:invalid').count()).toBe(1);
    expect(health().inFlight).toBe(0);
    expect(complaints).toEqual([]);
  });
});
