import { existsSync } from 'node:fs';
import path from 'node:path';

import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest';

import type { Model } from '../../lib/index.js';
import type { ServiceHealth } from '../../lib/service/http.js';
import { colormapTable } from '../../lib/pictures/colormaps.js';
import { useBuiltCommand } from '../cli/command.js';
import { load, serve, type Served } from '../service/support.js';

/** The browser of the system: none is downloaded. */
export const CHROMIUM = [
  process.env['SIGHTLINE_CHROMIUM'],
  ...(process.env['PATH'] ?? '')
    .split(path.delimiter)
    .flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => path.join(folder, name))),
].find((file) => file !== undefined && existsSync(file));

export const NO_BROWSER = 'There is no Chromium: apt install chromium, or name one by SIGHTLINE_CHROMIUM.';
if (CHROMIUM === undefined) console.warn(NO_BROWSER);

export const CNN = 'efficientnet-lite0';
export const VIT = 'vit-tiny-shapes';

export interface Opened {
  readonly page: Page;
  readonly address: string;
  /** What the console said of errors and warnings, and requests elsewhere. */
  readonly complaints: string[];
}

/** The bundled models behind one service, and one browser, for the tests of a file. */
export function usePage(): {
  readonly models: () => Readonly<Record<string, Model>>;
  readonly open: (hash?: string, options?: BrowserContextOptions) => Promise<Opened>;
  readonly openFile: (file: string) => Promise<Opened>;
  readonly health: () => ServiceHealth;
} {
  let models: Record<string, Model>;
  let served: Served;
  let browser: Browser;
  useBuiltCommand();
  beforeAll(async () => {
    const [cnn, vit] = await Promise.all([load(CNN), load(VIT)]);
    models = { [CNN]: cnn, [VIT]: vit };
    served = await serve({ models });
    browser = await chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser?.close();
    await served?.stop();
    for (const model of Object.values(models ?? {})) await model.close();
  });
  const openAt = async (url: string, origin: string, options: BrowserContextOptions): Promise<Opened> => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    onTestFinished(() => context.close());
    // As long as a busy machine needs.
    context.setDefaultTimeout(120_000);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => {
      const to = request.url();
      if (!to.startsWith(origin) && !/^(blob|data):/.test(to)) complaints.push(`asked for ${to}`);
    });
    await page.goto(url);
    return { page, address: origin, complaints };
  };
  return {
    models: () => models,
    open: async (hash = '', options = {}) => {
      const opened = await openAt(`${served.address}/${hash}`, served.address, options);
      await settled(opened.page);
      return opened;
    },
    health: () => served.service.health(),
    openFile: (file) => openAt(`file://${file}`, `file://${file}`, {}),
  };
}

/** Waits until every map is there. */
export async function settled(page: Page): Promise<void> {
  await page.locator('[aria-busy]').first().waitFor();
  await page.waitForFunction(() => document.querySelector('[aria-busy="true"]') === null);
  await frames(page);
}

/** Two frames: effects have run, and what they drew is there. */
export const frames = (page: Page): Promise<void> =>
  page.evaluate(
    () => new Promise<void>((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve()))),
  );

/** Moves a slider as a person does: to a value, with the events that come of it. */
export async function slide(page: Page, label: string, value: number, within = 'body'): Promise<void> {
  await page.locator(within).getByLabel(label, { exact: false }).first().fill(String(value));
  await frames(page);
}

export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: readonly number[];
}

export const pixelsOf = (page: Page, selector: string): Promise<Pixels> =>
  page
    .locator(selector)
    .first()
    .evaluate((element) => {
      const { width, height } = element as HTMLCanvasElement;
      // From a copy: browsers complain of canvases that are read again and again.
      const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!;
      copy.drawImage(element as HTMLCanvasElement, 0, 0);
      const { data } = copy.getImageData(0, 0, width, height);
      return { width, height, data: Array.from(data) };
    });

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** The value of a map at each pixel's middle by the definition of bilinear interpolation; null beyond the box. */
export function valuesAt(
  { data, shape: [rows, columns] }: { readonly data: ArrayLike<number>; readonly shape: readonly [number, number] },
  width: number,
  height: number,
  box: Box,
): (number | null)[] {
  const cell = (place: number, count: number): [number, number, number] => {
    const held = Math.min(count - 1, Math.max(0, place * count - 0.5));
    const low = Math.floor(held);
    return [low, Math.min(count - 1, low + 1), held - low];
  };
  const values: (number | null)[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const across = (x + 0.5 - box.left) / box.width;
      const down = (y + 0.5 - box.top) / box.height;
      // A pixel whose middle lies on the edge may fall to either side.
      if (Math.min(across, down) < 1e-6 || Math.max(across, down) > 1 - 1e-6) {
        values.push(null);
        continue;
      }
      const [left, right, acrossShare] = cell(across, columns);
      const [top, bottom, downShare] = cell(down, rows);
      const at = (row: number, column: number): number => data[row * columns + column]!;
      const above = at(top, left) * (1 - acrossShare) + at(top, right) * acrossShare;
      const below = at(bottom, left) * (1 - acrossShare) + at(bottom, right) * acrossShare;
      values.push(above * (1 - downShare) + below * downShare);
    }
  }
  return values;
}

/** Holds every pixel of a canvas against the color of its value; on the edge of two colors, either will do. */
export function expectColors(pixels: Pixels, values: readonly (number | null)[], min: number, max: number): void {
  const table = colormapTable('turbo');
  let held = 0;
  const wrong: string[] = [];
  values.forEach((value, i) => {
    if (value === null) return;
    const place = (255 * (value - min)) / (max - min);
    const near = [Math.round(place - 1e-3), Math.round(place + 1e-3)].map((entry) => Math.min(255, Math.max(0, entry)));
    const seen = [...pixels.data.slice(4 * i, 4 * i + 3)].join(' ');
    held++;
    if (!near.some((entry) => [...table.subarray(3 * entry, 3 * entry + 3)].join(' ') === seen)) {
      wrong.push(`pixel ${i} is ${seen}, entry ${place}`);
    }
  });
  expect(held).toBeGreaterThan(10_000);
  expect(wrong).toEqual([]);
}
