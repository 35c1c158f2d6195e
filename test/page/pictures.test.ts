import { readFileSync } from 'node:fs';
import path from 'node:path';

import { chromium, type Page } from 'playwright-core';
import { describe, expect, it, onTestFinished } from 'vitest';

import { DEMO } from '../cli/command.js';
import { CHROMIUM, settled, usePage } from './support.js';

const tripod = readFileSync(path.join(DEMO, 'photos/tripod.jpg')).toString('base64');
const best = (page: Page, label: string): Promise<void> =>
  page.locator('.panel:nth-of-type(1) .of .label', { hasText: label }).waitFor();

/** Hands a file over as the system does when one drops or pastes it. */
const hand = (page: Page, type: 'drop' | 'paste'): Promise<void> =>
  page.evaluate(
    ([b64, name]) => {
      const bytes = Uint8Array.from(atob(b64), (character) => character.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], 'tripod.jpg', { type: 'image/jpeg' }));
      const init = { bubbles: true, cancelable: true };
      if (name === 'paste') document.body.dispatchEvent(new ClipboardEvent('paste', { ...init, clipboardData: data }));
      else {
        document.body.dispatchEvent(new DragEvent('dragover', { ...init, dataTransfer: data }));
        document.body.dispatchEvent(new DragEvent('drop', { ...init, dataTransfer: data }));
      }
    },
    [tripod, type] as const,
  );

describe.skipIf(CHROMIUM === undefined)('a picture of one’s own', () => {
  const { open } = usePage();

  it.each(['drop', 'paste'] as const)('comes by %s', async (type) => {
    const { page, complaints } = await open();
    await best(page, 'tiger cat');
    await hand(page, type);
    await best(page, 'tripod');
    expect(complaints).toEqual([]);
  });

  it('is photographed where there is a camera', async () => {
    const browser = await chromium.launch({
      executablePath: CHROMIUM!,
      args: ['--no-sandbox', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
    });
    onTestFinished(() => browser.close());
    const { address, complaints: none } = await open();
    const page = await browser.newPage();
    page.setDefaultTimeout(120_000);
    const complaints: string[] = [];
    page.on('console', (message) => void (message.type() === 'error' && complaints.push(message.text())));
    await page.goto(address);
    await settled(page);
    await page.getByRole('button', { name: 'Camera', exact: true }).click();
    await page.getByRole('button', { name: 'Take the photo' }).click();
    await page.waitForFunction(() => document.querySelector('dialog') === null);
    await page.locator('.panel:nth-of-type(1) .legend').waitFor();
    await settled(page);
    expect(await page.locator('.samples [aria-pressed="true"]').count()).toBe(0);
    expect(await page.locator('.frame canvas').first().getAttribute('aria-label')).toContain('cam of');
    expect([...complaints, ...none]).toEqual([]);
  });

  it('is not photographed where there is none, which is said', async () => {
    const { page } = await open();
    await page.getByRole('button', { name: 'Camera', exact: true }).click();
    await page.getByRole('dialog').getByRole('alert').waitFor();
    expect(await page.getByRole('dialog').getByRole('alert').textContent()).toContain('There is no camera');
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
    expect(await page.getByRole('dialog').count()).toBe(0);
  });
});
