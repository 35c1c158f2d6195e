// Usage: node docs/draw-page.mjs [folder]
// Draws the pictures of docs/page.md: the built page with the bundled models, in the system's Chromium (with Inter,
// where that is installed).
import { createServer } from 'node:http';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import sharp from 'sharp';
import { createService, nodeHandler } from '../dist/service/http.js';

const out = process.argv[2] ?? fileURLToPath(new URL('page', import.meta.url));
const names = ['efficientnet-lite0', 'resnet-tiny-shapes', 'vit-tiny-shapes'];
const service = createService({
  // However busy the machine is.
  deadline: 3_600_000,
  models: Object.fromEntries(names.map((name) => [name, name])),
});
await service.ready();
const server = createServer(nodeHandler(service)).listen(0, '127.0.0.1');
await once(server, 'listening');
const address = server.address();
if (address === null || typeof address === 'string') throw new Error('The server has no port.');
const browser = await chromium.launch({
  executablePath: process.env['SIGHTLINE_CHROMIUM'] ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});

/** @typedef {import('playwright-core').Page} Page */
const settled = async (/** @type {Page} */ page) => {
  await page.locator('[aria-busy="true"], .stale').first().waitFor({ state: 'detached' });
  await page.waitForTimeout(300);
};
const shapes = (/** @type {Page} */ page) =>
  page.getByRole('button', { name: 'Striped disc and rayed flower' }).click();
/** @type {Record<string, (page: Page) => Promise<void>>} */
const VIEWS = {
  compare: async () => {},
  contrast: (page) => page.locator('.panel').first().getByRole('button', { name: 'vs Egyptian cat' }).click(),
  sureness: async (page) => {
    await page.locator('.panel').first().getByText('How sure is this map?').click();
    await page.locator('.sureness .pair figure').nth(1).waitFor();
  },
  maximize: async (page) => {
    await page.getByRole('button', { name: 'Maximize' }).click();
    await page.getByRole('button', { name: 'Make the picture' }).click();
    await page.getByRole('button', { name: 'Save it' }).waitFor();
  },
  attention: async (page) => {
    await shapes(page);
    await page.getByRole('button', { name: 'Attention', exact: true }).click();
    await page.locator('.patches').click({ position: { x: 78, y: 92 } });
    await page.getByRole('button', { name: 'Block 2, head 1' }).click();
  },
  sheet: async (page) => {
    await shapes(page);
    await page.getByRole('button', { name: 'Sheet' }).click();
    await page.locator('.sheet figure').first().waitFor();
  },
};
/** Of each view, where it is drawn. */
const DRAWN = [
  ['compare', 'desktop', 'light'],
  ['compare', 'desktop', 'dark'],
  ['compare', 'phone', 'light'],
  ['compare', 'phone', 'dark'],
  ['contrast', 'desktop', 'light'],
  ['sureness', 'desktop', 'light'],
  ['maximize', 'desktop', 'dark'],
  ['maximize', 'phone', 'light'],
  ['attention', 'desktop', 'light'],
  ['sheet', 'desktop', 'dark'],
];

mkdirSync(out, { recursive: true });
for (const [view = '', device, scheme] of DRAWN) {
  const isPhone = device === 'phone';
  const context = await browser.newContext({
    viewport: isPhone ? { width: 390, height: 844 } : { width: 1280, height: 900 },
    colorScheme: scheme === 'dark' ? 'dark' : 'light',
    deviceScaleFactor: isPhone ? 2 : 1,
  });
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${address.port}/`);
  await page.locator('.panel .legend').nth(1).waitFor();
  await VIEWS[view]?.(page);
  await page.mouse.move(2, 2);
  await settled(page);
  const whole = await page.screenshot({ fullPage: !isPhone });
  await sharp(whole)
    .webp({ quality: 88 })
    .toFile(path.join(out, `${view}-${device}-${scheme}.webp`));
  await context.close();
}
await browser.close();
server.close();
server.closeAllConnections();
await service.close();
