import axe from 'axe-core';
import { describe, expect, it } from 'vitest';
import type { Page } from 'playwright-core';

import { CHROMIUM, settled, usePage } from './support.js';

interface Violation {
  readonly id: string;
  readonly impact: string | null;
  readonly nodes: readonly { readonly html: string }[];
}

/** What axe finds serious or critical. */
async function findings(page: Page): Promise<string[]> {
  const { violations } = await page.evaluate<{ violations: Violation[] }>(`${axe.source}; axe.run()`);
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
}

describe.skipIf(CHROMIUM === undefined)('everybody', () => {
  const { open } = usePage();

  it.each([
    ['light', 1280],
    ['dark', 390],
  ] as const)('can read the page in %s colors, %d pixels wide', async (colorScheme, width) => {
    const { page, complaints } = await open('', { colorScheme, viewport: { width, height: 844 } });
    for (const summary of await page.locator('details summary').all()) {
      if (await summary.isVisible()) await summary.click();
    }
    await page.getByRole('button', { name: 'vs tabby' }).click();
    await page.locator('.sureness .pair figure').nth(1).waitFor();
    await settled(page);
    expect(await findings(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    await page.getByRole('button', { name: 'Attention', exact: true }).click();
    await settled(page);
    expect(await findings(page)).toEqual([]);
    await page.getByRole('button', { name: 'Sheet' }).click();
    await page.locator('.sheet .frame:not(.stale)').first().waitFor();
    expect(await findings(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    await page.getByRole('button', { name: 'Maximize' }).click();
    await page.getByLabel('Steps').fill('16');
    await page.getByRole('button', { name: 'Make the picture' }).click();
    await page.getByRole('button', { name: 'Save it' }).waitFor();
    await page.getByText('Repeat', { exact: true }).click();
    expect(await findings(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    expect(complaints).toEqual([]);
  });

  it('can use it by keys alone', async () => {
    const { page, complaints } = await open();
    /** Tab until what has the focus has this name. */
    const reach = async (name: RegExp): Promise<void> => {
      for (let i = 0; i < 200; i++) {
        await page.keyboard.press('Tab');
        const focused = await page.evaluate(() => {
          const element = document.activeElement as HTMLElement;
          const label = element.getAttribute('aria-label') ?? element.getAttribute('title') ?? '';
          return `${label} ${element.textContent} ${element.closest('label')?.textContent ?? ''}`;
        });
        if (name.test(focused)) return;
      }
      throw new Error(`Tab never comes to ${name.source}.`);
    };
    const label = page.locator('.panel').first().locator('.of .label');
    await reach(/Cup of espresso/);
    await page.keyboard.press('Enter');
    await page.locator('.panel .of .label', { hasText: 'espresso' }).waitFor();
    await settled(page);
    await reach(/Opacity/);
    const before = Number(await page.getByLabel('Opacity').inputValue());
    await page.keyboard.press('ArrowRight');
    expect(Number(await page.getByLabel('Opacity').inputValue())).toBeCloseTo(before + 0.01, 10);
    const second = (await page.locator('.panel').first().locator('.class .label').nth(1).textContent())!;
    await reach(new RegExp(`Explain ${second}`));
    await page.keyboard.press('Enter');
    await label.filter({ hasText: second }).waitFor();
    await settled(page);
    await page.keyboard.press('Shift+Tab');
    await reach(/^vs /);
    await page.keyboard.press('Enter');
    await page.locator('.panel').first().locator('.against').waitFor();
    await settled(page);
    await reach(/Options of cam/);
    await page.keyboard.press('Enter');
    expect(await page.getByLabel('Eigen smoothing').first().isVisible()).toBe(true);
    await reach(/^ *Maximize/);
    await page.keyboard.press('Enter');
    await reach(/Steps/);
    await page.keyboard.press('Home');
    await reach(/Make the picture/);
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Save it' }).waitFor();
    await reach(/Save it/);
    expect(complaints).toEqual([]);
  });
});
