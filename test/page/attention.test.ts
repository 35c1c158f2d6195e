import { describe, expect, it } from 'vitest';

import { inputGeometry } from '../../lib/images/geometry.js';
import { photo, postJson } from '../service/support.js';
import { CHROMIUM, frames, pixelsOf, settled, slide, usePage, VIT } from './support.js';
import { colormapTable } from '../../lib/pictures/colormaps.js';

const cat = photo('cat.jpg');
const SIZE = { width: 411, height: 300 };
const GRID = 14;
const BLOCK = 4;
const HEAD = 2;

describe.skipIf(CHROMIUM === undefined)('the attention explorer', () => {
  const { models, open } = usePage();

  it('shows what a patch attends to and who attends to it, as the model computes it', async () => {
    const { page, address, complaints } = await open();
    await page.getByRole('button', { name: 'Attention', exact: true }).click();
    await slide(page, 'Opacity', 1);
    await page.getByRole('button', { name: `Block ${BLOCK}, head ${HEAD}` }).click();
    const { box } = inputGeometry(SIZE.width, SIZE.height, models()[VIT]!.card.input);
    const [row, column] = [3, 5];
    const patches = page.locator('.patches');
    const bounds = (await patches.boundingBox())!;
    await patches.click({
      position: {
        x: ((box.left + ((column + 0.5) * box.width) / GRID) / SIZE.width) * bounds.width,
        y: ((box.top + ((row + 0.5) * box.height) / GRID) / SIZE.height) * bounds.height,
      },
    });
    await settled(page);
    expect(await patches.getAttribute('aria-label')).toContain(`row ${row + 1}, column ${column + 1}`);

    const { attention } = await models()[VIT]!.capture([cat], { attention: [BLOCK] });
    const { data, shape } = attention[BLOCK]!;
    const tokens = shape[2]!;
    const entry = (query: number, key: number): number => data[(HEAD * tokens + query) * tokens + key]!;
    const token = 1 + row * GRID + column;
    const cells = Array.from({ length: GRID * GRID }, (_, i) => i + 1);
    const expected = [cells.map((key) => entry(token, key)), cells.map((query) => entry(query, token))];
    const expectPatches = async (number: number, values: readonly number[]): Promise<void> => {
      const pixels = await pixelsOf(page, `.pair figure:nth-of-type(${number}) .frame canvas`);
      const [min, max] = [Math.min(...values), Math.max(...values)];
      const table = colormapTable('turbo');
      values.forEach((value, i) => {
        const x = Math.floor(box.left + (((i % GRID) + 0.5) * box.width) / GRID);
        const y = Math.floor(box.top + ((Math.floor(i / GRID) + 0.5) * box.height) / GRID);
        const at = 4 * (y * pixels.width + x);
        const place = (255 * (value - min)) / (max - min);
        const near = [Math.round(place - 1e-3), Math.round(place + 1e-3)].map((each) =>
          [...table.subarray(3 * each, 3 * each + 3)].join(' '),
        );
        expect(near).toContain(pixels.data.slice(at, at + 3).join(' '));
      });
    };
    await expectPatches(2, expected[0]!);
    await expectPatches(3, expected[1]!);

    await patches.focus();
    await page.keyboard.press('ArrowRight');
    await frames(page);
    await expectPatches(
      2,
      cells.map((key) => entry(token + 1, key)),
    );

    await page.getByText('Queries', { exact: true }).click();
    await page.locator('.channels li').first().waitFor();
    const channels = await models()[VIT]!.attention(cat, { of: 'query', block: BLOCK, head: HEAD });
    expect(await page.locator('.channels li').count()).toBe(channels.length);
    const most = Math.max(...channels.flatMap((each) => [...each.data].map(Math.abs)));
    const ends = await page.locator('.channels .ends span').allTextContents();
    expect(Number(ends.at(-1))).toBe(Number(most.toPrecision(3)));
    expect(complaints).toEqual([]);

    const image = { b64: cat.toString('base64') };
    const rows = await postJson(`${address}/attention`, { image, model: VIT, block: BLOCK, head: HEAD, rows: 'all' });
    expect(((await rows.json()) as { data: number[] }).data).toEqual([
      ...data.subarray(HEAD * tokens * tokens, (HEAD + 1) * tokens * tokens),
    ]);
  });
});
