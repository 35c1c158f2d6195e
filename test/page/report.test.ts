import { writeFileSync } from 'node:fs';
import path from 'node:path';

import axe from 'axe-core';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { reportHtml } from '../../lib/cli/evaluation/report.js';
import { temporaryFolder } from '../cli/command.js';
import { HOSTILE, sampleReport } from '../cli/sample-report.js';
import { CHROMIUM } from './support.js';

describe.skipIf(CHROMIUM === undefined)('a report of an evaluation', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox'] });
  });
  afterAll(() => browser?.close());

  it.each([
    ['light', 1280],
    ['dark', 390],
  ] as const)(
    'asks for nothing, runs nothing, and can be read in %s colors, %d pixels wide',
    async (colorScheme, width) => {
      const file = path.join(temporaryFolder(), 'report.html');
      writeFileSync(file, reportHtml(sampleReport()));
      const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } });
      context.setDefaultTimeout(120_000);
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('dialog', (dialog) => {
        complaints.push(`said ${dialog.message()}`);
        void dialog.dismiss();
      });
      page.on('request', (request) => {
        const to = request.url();
        if (to !== `file://${file}` && !to.startsWith('data:image/')) complaints.push(`asked for ${to}`);
      });
      await page.goto(`file://${file}`);
      expect(complaints).toEqual([]);

      // XML has no place for a zero character.
      const shown = HOSTILE.replace('\u0000', '');
      expect(await page.title()).toBe(`How right are the maps of ${shown}?`);
      expect(await page.locator('tbody').first().locator('tr').nth(1).locator('td').first().textContent()).toBe(shown);
      expect(await page.locator('figure').count()).toBe(6);
      expect(await page.locator('figcaption b').allTextContents()).toEqual(
        expect.arrayContaining(['0.2', '0.8', '0.3', '0.7', 'no figure']),
      );
      expect(await page.locator('img').count()).toBe(6);
      expect(await page.evaluate(() => [...document.images].every((image) => image.naturalWidth > 0))).toBe(true);
      const [ground, ink] = await page.evaluate(() => {
        const style = getComputedStyle(document.body);
        return [style.backgroundColor, style.color];
      });
      expect([ground, ink]).toEqual(
        colorScheme === 'light' ? ['rgb(255, 255, 255)', 'rgb(31, 35, 40)'] : ['rgb(13, 17, 23)', 'rgb(230, 237, 243)'],
      );
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
      const { violations } = await page.evaluate<{
        violations: { id: string; impact: string | null; nodes: { html: string }[] }[];
      }>(`${axe.source}; axe.run()`);
      expect(
        violations
          .filter(({ impact }) => impact === 'serious' || impact === 'critical')
          .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`),
      ).toEqual([]);
      await context.close();
    },
  );
});
