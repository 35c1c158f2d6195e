import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { decodeNpy, type Explanation } from '../../lib/index.js';
import { inputGeometry } from '../../lib/images/geometry.js';
import { pageFiles } from '../../lib/service/page.js';
import { DEMO, sightlineIn, temporaryFolder } from '../cli/command.js';
import { photo } from '../service/support.js';
import { CHROMIUM, CNN, expectColors, frames, pixelsOf, settled, slide, usePage, valuesAt, VIT } from './support.js';

const cat = photo('cat.jpg');
/** Of the cat, as the file is. */
const SIZE = { width: 411, height: 300 };
const FIRST = '.panel:nth-of-type(1)';
const SECOND = '.panel:nth-of-type(2)';
const asked = { size: 'grid', raw: true } as const;

it('is small', () => {
  const sent = [...pageFiles()].filter(([name]) => /^index.*\.(html|js|css)$/.test(name));
  expect(sent).toHaveLength(3);
  expect(sent.reduce((sum, [, { body }]) => sum + gzipSync(body).length, 0)).toBeLessThan(150_000);
});

describe.skipIf(CHROMIUM === undefined)('the page', () => {
  const { models, open, openFile } = usePage();

  /** Holds a panel's canvas against a map of the library. */
  const expectMap = async (
    page: Awaited<ReturnType<typeof open>>['page'],
    panel: string,
    model: string,
    { maps }: Explanation,
  ): Promise<void> => {
    const pixels = await pixelsOf(page, `${panel} .frame canvas`);
    const { box } = inputGeometry(SIZE.width, SIZE.height, models()[model]!.card.input);
    const [map] = maps;
    expect([pixels.width, pixels.height]).toEqual([SIZE.width, SIZE.height]);
    const values = valuesAt(map!, pixels.width, pixels.height, box);
    expectColors(pixels, values, Math.min(...map!.data), Math.max(...map!.data));
  };

  it('shows a CNN beside a ViT at first, in the colors of the maps, and asks for nothing from elsewhere', async () => {
    const { page, address, complaints } = await open();
    expect(await page.locator('.panel').count()).toBe(2);
    await slide(page, 'Opacity', 1);
    const [ofCnn] = await models()[CNN]!.explain([cat], { method: 'cam', ...asked });
    const [ofVit] = await models()[VIT]!.explain([cat], { method: 'gae', ...asked });
    await expectMap(page, FIRST, CNN, ofCnn!);
    await expectMap(page, SECOND, VIT, ofVit!);
    expect(await page.locator(`${FIRST} .class .label`).allTextContents()).toEqual(
      (await models()[CNN]!.predict([cat], { top: 6 }))[0]!.predictions.map(({ label }) => label),
    );
    const ends = await page.locator(`${FIRST} .legend .ends span`).allTextContents();
    const { min, max } = ofCnn!.maps[0]!;
    expect(ends.map(Number)).toEqual([min, max].map((value) => Number(value.toPrecision(3))));
    expect(complaints).toEqual([]);
    const answer = await fetch(`${address}/`, { headers: { accept: 'text/html' } });
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'self';");
    expect(await answer.text()).not.toMatch(/<script(?![^>]* src=)|<style|style=/);
    expect(await (await fetch(`${address}/`)).json()).toEqual({ status: 'alive' });
  });

  it('explains the class that is clicked, and contrasts it with another as the library does', async () => {
    const { page, complaints } = await open();
    await slide(page, 'Opacity', 1);
    await page
      .locator(FIRST)
      .getByRole('button', { name: /^Egyptian cat/ })
      .click();
    await settled(page);
    const [one] = await models()[CNN]!.explain([cat], { method: 'cam', targets: ['Egyptian cat'], ...asked });
    await expectMap(page, FIRST, CNN, one!);
    expect(await page.locator(`${FIRST} .says`).textContent()).toContain('Egyptian cat');

    const answer = page.waitForResponse((response) => response.url().includes('against'));
    await page.locator(FIRST).getByRole('button', { name: 'vs tiger cat' }).click();
    const { maps } = (await (await answer).json()) as { maps: { b64: string }[] };
    await settled(page);
    const [pair] = await models()[CNN]!.explain([cat], {
      method: 'cam',
      targets: [{ of: 'Egyptian cat', against: 'tiger cat' }],
      ...asked,
    });
    const { data } = pair!.maps[0]!;
    const bytes = Buffer.from(maps[0]!.b64, 'base64');
    expect(bytes.equals(Buffer.from(data.buffer, data.byteOffset, data.byteLength))).toBe(true);
    expect(await page.locator(`${FIRST} .says`).textContent()).toContain('for Egyptian cat over tiger cat');

    // As a mask at half of the signed scale, what is left of the picture is what favors the class.
    await page.getByText('Mask', { exact: true }).click();
    await slide(page, 'Threshold', 0.5);
    const pixels = await pixelsOf(page, `${FIRST} .frame canvas`);
    const { box } = inputGeometry(SIZE.width, SIZE.height, models()[CNN]!.card.input);
    const most = Math.max(...data.map(Math.abs));
    let favoring = 0;
    valuesAt({ data, shape: pair!.maps[0]!.shape }, SIZE.width, SIZE.height, box).forEach((value, i) => {
      if (value === null || Math.abs(value) < 1e-4 * most) return;
      const isBlack = pixels.data.slice(4 * i, 4 * i + 3).every((channel) => channel === 0);
      expect(isBlack).toBe(value < 0);
      if (value > 0) favoring++;
    });
    expect(favoring).toBeGreaterThan(1000);
    expect(complaints).toEqual([]);
  });

  it('recolors in the browser alone, and asks the model for options, of which the last wins', async () => {
    const { page, complaints } = await open();
    await page.locator(SECOND).getByLabel('Method').selectOption('attention-rollout');
    await settled(page);
    const requests: string[] = [];
    page.on('request', (request) => {
      if (request.method() === 'POST') requests.push(request.url());
    });
    const before = await pixelsOf(page, `${SECOND} .frame canvas`);
    for (const opacity of [0.2, 0.7, 1]) await slide(page, 'Opacity', opacity);
    expect(requests).toEqual([]);
    expect(await pixelsOf(page, `${SECOND} .frame canvas`)).not.toEqual(before);

    await page.locator(SECOND).getByText('Options of attention-rollout').click();
    // Within one turn, faster than any answer: all but the last are let go.
    await page
      .locator(SECOND)
      .getByLabel('Discard ratio')
      .evaluate((element) => {
        for (const value of ['0.3', '0.5', '0.8', '0.9']) {
          (element as HTMLInputElement).value = value;
          element.dispatchEvent(new Event('input', { bubbles: true }));
        }
      });
    await page.locator(SECOND).getByLabel('Head fusion').selectOption('max');
    await slide(page, 'From block', 1, SECOND);
    await slide(page, 'Residual weight', 0.3, SECOND);
    await settled(page);
    const [rollout] = await models()[VIT]!.explain([cat], {
      method: 'attention-rollout',
      discardRatio: 0.9,
      headFusion: 'max',
      startBlock: 1,
      residualWeight: 0.3,
      ...asked,
    });
    await expectMap(page, SECOND, VIT, rollout!);
    expect(requests.at(-1)).toContain('residualWeight=0.3');
    expect(complaints).toEqual([]);
  });

  it('comes back by its link', async () => {
    const { page } = await open();
    await page.locator(SECOND).getByLabel('Method').selectOption('attention-rollout');
    await page
      .locator(FIRST)
      .getByRole('button', { name: /^tabby/ })
      .click();
    await page.getByText('Contour', { exact: true }).click();
    await slide(page, 'Opacity', 0.25);
    await settled(page);
    // The address follows when a slider rests.
    await page.waitForFunction(() => atob(location.hash.slice(1).replace(/-/g, '+')).includes('"opacity":0.25'));
    const { hash } = new URL(page.url());
    const again = await open(hash);
    expect(await again.page.locator(`${SECOND} .pick.method select`).inputValue()).toBe('attention-rollout');
    expect(await again.page.locator(`${FIRST} .of .label`).textContent()).toBe('tabby');
    expect(await again.page.getByLabel('Opacity').inputValue()).toBe('0.25');
    expect(await again.page.getByRole('radio', { name: 'Contour' }).isChecked()).toBe(true);
    for (const panel of [FIRST, SECOND]) {
      expect(await pixelsOf(again.page, `${panel} .frame canvas`)).toEqual(
        await pixelsOf(page, `${panel} .frame canvas`),
      );
    }
    expect(again.complaints).toEqual([]);
  });

  it('says of a link what the service does not have, and of a broken one nothing', async () => {
    const linked = { panels: [{ model: 'none', method: 'cam', options: {} }], picture: 'coffee' };
    const { page } = await open(`#${Buffer.from(JSON.stringify(linked)).toString('base64url')}`);
    expect(await page.getByRole('alert').textContent()).toContain('cam of none');
    expect(await page.locator(`${FIRST} .of .label`).textContent()).toBe('espresso');
    const broken = await open('#%%%');
    expect(await broken.page.getByRole('alert').count()).toBe(0);
  });

  it('takes a picture of one’s own, and says of a bad file that it is none', async () => {
    const { page, complaints } = await open();
    const input = page.getByLabel('Picture of your own');
    await input.setInputFiles({ name: 'notes.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('no picture') });
    const alert = page.getByRole('alert');
    await alert.waitFor();
    expect(await alert.textContent()).toContain('notes.jpg is no picture');
    expect(await page.locator(`${FIRST} .of .label`).textContent()).toBe('tiger cat');
    await input.setInputFiles(path.join(DEMO, 'photos/tripod.jpg'));
    await page.locator(`${FIRST} .of .label`, { hasText: 'tripod' }).waitFor();
    expect(await alert.count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  it('gives the map, and the command that repeats it', async () => {
    const { page } = await open();
    await page.locator(FIRST).getByRole('button', { name: 'vs tabby' }).click();
    await settled(page);
    await page.locator(FIRST).getByText('Save and repeat').click();
    const download = page.waitForEvent('download');
    await page.locator(FIRST).getByRole('button', { name: 'Map (.npy)' }).click();
    const saved = decodeNpy(readFileSync(await (await download).path()), 'saved');
    const [expected] = await models()[CNN]!.explain([cat], {
      method: 'cam',
      targets: [{ of: 'tiger cat', against: 'tabby' }],
      ...asked,
    });
    expect(saved.shape).toEqual([1, 7, 7]);
    expect([...saved.data]).toEqual([...expected!.maps[0]!.data]);

    const command = (await page.getByLabel('Command that repeats this map').first().textContent())!;
    const words = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
    expect(words.slice(0, 4)).toEqual(['npx', 'sightline', 'explain', 'cat.jpg']);
    const out = temporaryFolder();
    const { code, stdout } = await sightlineIn(
      path.join(DEMO, 'photos'),
      ...[...words.slice(2), '--out', out, '--json', '--device', 'cpu'],
    );
    expect(code).toBe(0);
    const { results } = JSON.parse(stdout) as { results: { maps: { raw: string }[] }[] };
    const repeated = decodeNpy(readFileSync(results[0]!.maps[0]!.raw), 'repeated');
    expect([...repeated.data]).toEqual([...expected!.maps[0]!.data]);
  });

  it('saves one HTML file that shows the same without a server', async () => {
    const { page } = await open();
    await page.locator(FIRST).getByText('Save and repeat').click();
    const download = page.waitForEvent('download');
    await page.locator(FIRST).getByRole('button', { name: 'HTML file' }).click();
    const file = path.join(temporaryFolder(), 'view.html');
    await (await download).saveAs(file);
    const view = await openFile(file);
    await view.page.locator('.panel .legend').waitFor();
    await slide(view.page, 'Opacity', 1);
    const [explained] = await models()[CNN]!.explain([cat], { method: 'cam', ...asked });
    await expectMap(view.page, '.panel', CNN, explained!);
    expect(view.complaints).toEqual([]);
  });

  it('saves all maps together: in one HTML file, and as pictures of both kinds', async () => {
    const { page, complaints } = await open();
    const saved = async (button: string): Promise<{ file: string; name: string }> => {
      const download = page.waitForEvent('download');
      await page
        .getByRole('group', { name: 'All maps together' })
        .getByRole('button', { name: button, exact: true })
        .click();
      const file = path.join(temporaryFolder(), (await download).suggestedFilename());
      await (await download).saveAs(file);
      return { file, name: path.basename(file) };
    };
    const html = await saved('One HTML file');
    const view = await openFile(html.file);
    await view.page.locator('.panel .legend').nth(1).waitFor();
    expect(await view.page.locator('.panel h2').allTextContents()).toEqual([CNN, VIT]);
    await slide(view.page, 'Opacity', 1);
    const [ofVit] = await models()[VIT]!.explain([cat], { method: 'gae', ...asked });
    await expectMap(view.page, SECOND, VIT, ofVit!);
    for (const [button, format] of [
      ['PNG', 'png'],
      ['WebP', 'webp'],
    ] as const) {
      const { file, name } = await saved(button);
      expect(name).toBe(`cat-sightline.${format}`);
      const { data, info } = await sharp(file).removeAlpha().raw().toBuffer({ resolveWithObject: true });
      const { format: found } = await sharp(file).metadata();
      expect([found, info.width]).toEqual([format, 2 * SIZE.width + 3 * 16]);
      if (format !== 'png') continue;
      // The second map, where the sheet has it, in the colors of the page.
      const pixels = await pixelsOf(page, `${SECOND} .frame canvas`);
      for (const [x, y] of [
        [200, 150],
        [211, 100],
        [5, 290],
      ] as const) {
        const at = 3 * ((y + 16 + 28) * info.width + x + SIZE.width + 32);
        const here = 4 * (y * SIZE.width + x);
        expect([...data.subarray(at, at + 3)]).toEqual(pixels.data.slice(here, here + 3));
      }
    }
    expect([...complaints, ...view.complaints]).toEqual([]);
  });

  it('opens what `sightline explain --html` writes', async () => {
    const file = path.join(temporaryFolder(), 'cat.html');
    const { code, stdout } = await sightlineIn(
      path.join(DEMO, 'photos'),
      ...['explain', 'cat.jpg', '--size', 'grid', '--target', 'top2', '--html', file, '--device', 'cpu'],
    );
    expect([code, stdout]).toEqual([0, expect.stringContaining(file)]);
    const view = await openFile(file);
    await view.page.locator('.panel .legend').nth(1).waitFor();
    expect(await view.page.locator('.panel .of .label').allTextContents()).toEqual(['tiger cat', 'Egyptian cat']);
    const [explained] = await models()[CNN]!.explain([cat], { method: 'cam', ...asked });
    const { min, max } = explained!.maps[0]!;
    const ends = await view.page.locator('.panel').first().locator('.ends span').allTextContents();
    expect(ends.map(Number)).toEqual([min, max].map((value) => Number(value.toPrecision(3))));
    expect(view.complaints).toEqual([]);
  });

  it('zooms all pictures together by keys', async () => {
    const { page } = await open();
    await page.locator(`${FIRST} .frame`).focus();
    await page.keyboard.press('+');
    await page.keyboard.press('ArrowLeft');
    await frames(page);
    const transforms = await page
      .locator('.panel .frame canvas')
      .evaluateAll((all) => all.map((each) => (each as HTMLElement).style.transform));
    expect(new Set(transforms)).toEqual(new Set([expect.stringContaining('scale(1.5)')]));
    await page.keyboard.press('0');
    expect(await page.locator('.zoom output').textContent()).toBe('1.0 ×');
  });
});
