import { readFile } from 'node:fs/promises';

import { expect, it } from 'vitest';

import { COLORMAPS, colormapTable, type Colormap } from '../../lib/pictures/colormaps.js';

it('holds the colours of matplotlib', async () => {
  const peer: Record<Colormap, Record<string, number[]>> = JSON.parse(
    await readFile(new URL('./fixtures/colormaps.json', import.meta.url), 'utf8'),
  );
  expect(Object.keys(peer).sort()).toEqual([...COLORMAPS].sort());
  for (const name of COLORMAPS) {
    const table = colormapTable(name);
    expect(table.length).toBe(768);
    for (const [row, rgb] of Object.entries(peer[name])) {
      expect([...table.subarray(3 * Number(row), 3 * Number(row) + 3)]).toEqual(rgb);
    }
  }
});

it('knows the published ends of viridis and that gray is gray', () => {
  expect([...colormapTable('viridis').subarray(0, 3)]).toEqual([68, 1, 84]);
  expect([...colormapTable('viridis').subarray(765)]).toEqual([253, 231, 36]);
  expect([...colormapTable('gray').subarray(3 * 77, 3 * 77 + 3)]).toEqual([77, 77, 77]);
});

it('suggests the nearest name, and is not fooled by names of Object.prototype', () => {
  expect(() => colormapTable('virdis' as Colormap)).toThrow(
    expect.objectContaining({
      code: 'INVALID_OPTION',
      message: 'There is no color map "virdis". Did you mean "viridis"?',
    }),
  );
  expect(() => colormapTable('constructor' as Colormap)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});
