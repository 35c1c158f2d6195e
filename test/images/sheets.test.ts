import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { createCanvas, fillBox, paste, strokeBox, type Rgb } from '../../lib/pictures/canvas.js';
import { colormapTable } from '../../lib/pictures/colormaps.js';
import { Picture } from '../../lib/pictures/picture.js';
import { planesSheet, type Plane, type PlanesOptions } from '../../lib/pictures/planes.js';
import { contactSheet, type SheetCell, type SheetOptions } from '../../lib/pictures/sheet.js';

const RED: Rgb = [255, 0, 0];
const BLUE: Rgb = [0, 0, 255];

const picture = (width: number, height: number, background: Rgb) =>
  sharp({
    create: { width, height, channels: 3, background: { r: background[0], g: background[1], b: background[2] } },
  });

async function read(result: Picture) {
  const { data, info } = await (await result.sharp()).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number): number[] => [
    ...data.subarray(info.channels * (y * info.width + x), info.channels * (y * info.width + x) + 3),
  ];
  /** The smallest rectangle that holds all pixels of exactly this colour. */
  const extent = (colour: readonly number[]) => {
    let [left, top, right, bottom] = [info.width, info.height, -1, -1];
    for (let y = 0; y < info.height; y++) {
      for (let x = 0; x < info.width; x++) {
        if (at(x, y).join() !== colour.join()) continue;
        [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
      }
    }
    return { left, top, width: right - left + 1, height: bottom - top + 1 };
  };
  return { width: info.width, height: info.height, at, extent };
}

describe('canvas', () => {
  it('cuts what lies outside', () => {
    const canvas = createCanvas(4, 3);
    fillBox(canvas, { left: -2, top: -2, width: 3, height: 3 }, RED);
    paste(canvas, { data: new Uint8Array(3 * 9).fill(7), width: 3, height: 3 }, 3, 2);
    const at = (x: number, y: number): number[] => [...canvas.data.subarray(3 * (y * 4 + x), 3 * (y * 4 + x) + 3)];
    expect(at(0, 0)).toEqual([255, 0, 0]);
    expect(at(1, 0)).toEqual([255, 255, 255]);
    expect(at(3, 2)).toEqual([7, 7, 7]);
    expect(at(0, 2)).toEqual([255, 255, 255]);
    paste(canvas, { data: new Uint8Array(3 * 9), width: 3, height: 3 }, 9, 0);
    expect(at(3, 0)).toEqual([255, 255, 255]);
  });

  it('blends, frames and becomes a PNG of the same pixels', async () => {
    const canvas = createCanvas(5, 5, [0, 0, 0]);
    fillBox(canvas, { left: 2, top: 2, width: 1, height: 1 }, [200, 100, 50], 0.5);
    strokeBox(canvas, { left: 0, top: 0, width: 5, height: 5 }, BLUE);
    const shown = await read(new Picture(() => Promise.resolve(canvas)));
    expect(shown.at(2, 2)).toEqual([100, 50, 25]);
    expect(shown.at(1, 1)).toEqual([0, 0, 0]);
    for (const [x, y] of [
      [0, 0],
      [4, 0],
      [0, 4],
      [4, 4],
      [2, 0],
      [0, 2],
    ] as const) {
      expect(shown.at(x, y)).toEqual([0, 0, 255]);
    }
  });
});

describe('contactSheet', () => {
  const cells = (): SheetCell[][] => [[{ image: picture(40, 20, RED) }, { image: picture(20, 40, BLUE) }]];
  const sheet = async (rows: (SheetCell | null)[][], options?: SheetOptions) => read(await contactSheet(rows, options));

  it('scales each picture to the cell and keeps its proportions', async () => {
    const shown = await sheet(cells(), { cellWidth: 100 });
    const red = shown.extent(RED);
    const blue = shown.extent(BLUE);
    expect([red.width, red.height, blue.width, blue.height]).toEqual([100, 50, 100, 200]);
    expect(blue.left).toBe(red.left + 100 + 8);
    // The lower one is centred in its row.
    expect(red.top).toBe(blue.top + 75);
    expect([shown.width, shown.height]).toEqual([2 * red.left + 208, 2 * blue.top + 200]);
  });

  it('takes encoded bytes, and leaves a sharp instance of the caller as it was', async () => {
    const instance = picture(30, 30, BLUE).png();
    const bytes = await picture(30, 30, RED).png().toBuffer();
    const shown = await sheet([[{ image: bytes }, { image: instance }]], { cellWidth: 30 });
    expect(shown.extent(RED).width).toBe(30);
    expect(shown.extent(BLUE).width).toBe(30);
    expect((await sharp(await instance.toBuffer()).metadata()).format).toBe('png');
  });

  it("keeps a resize of the caller's own", async () => {
    const shown = await sheet([[{ image: picture(40, 40, RED).resize(40, 10, { fit: 'fill' }) }]], { cellWidth: 80 });
    expect([shown.extent(RED).width, shown.extent(RED).height]).toEqual([80, 20]);
  });

  it('makes room for captions, heads and a title', async () => {
    const bare = await sheet(cells(), { cellWidth: 100 });
    const captioned = await sheet([[{ image: picture(20, 40, BLUE), caption: 'one' }]], { cellWidth: 100 });
    const uncaptioned = await sheet([[{ image: picture(20, 40, BLUE) }]], { cellWidth: 100 });
    expect(captioned.height).toBeGreaterThan(uncaptioned.height + 10);
    const titled = await sheet(cells(), { cellWidth: 100, title: 'title' });
    expect([titled.width, titled.height > bare.height + 10]).toEqual([bare.width, true]);
    const columns = await sheet(cells(), { cellWidth: 100, columnHeads: ['a', 'b'] });
    expect([columns.width, columns.height > bare.height + 10]).toEqual([bare.width, true]);
    const rows = await sheet(cells(), { cellWidth: 100, rowHeads: ['row'] });
    expect([rows.width > bare.width + 10, rows.height]).toEqual([true, bare.height]);
    // Nothing of the text lies on the pictures.
    for (const shown of [titled, columns, rows]) {
      const blue = shown.extent(BLUE);
      expect(blue.width * blue.height).toBe(100 * 200);
    }
  });

  it('leaves empty places in rows of different length', async () => {
    const shown = await sheet(
      [
        [{ image: picture(50, 50, RED) }, { image: picture(50, 50, RED) }],
        [null, { image: picture(50, 50, BLUE) }],
      ],
      { cellWidth: 50 },
    );
    expect(shown.extent(BLUE).left).toBe(shown.extent(RED).left + 58);
    expect(shown.extent(BLUE).top).toBe(shown.extent(RED).top + 58);
  });

  it('takes a background and refuses what it cannot draw', async () => {
    expect((await sheet(cells(), { background: [1, 2, 3] })).at(0, 0)).toEqual([1, 2, 3]);
    await expect(contactSheet([])).rejects.toEqual(expect.objectContaining({ code: 'INVALID_INPUT' }));
    await expect(contactSheet(cells(), { cellWidth: 3 })).rejects.toEqual(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
    const refused = (given: unknown, options: unknown, code: string, message: RegExp) =>
      expect(contactSheet(given as never, options as never)).rejects.toEqual(
        expect.objectContaining({ name: 'SightlineError', code, message: expect.stringMatching(message) as string }),
      );
    await refused(cells(), { title: {} }, 'INVALID_OPTION', /^title is \{\}/);
    await refused(cells(), { columnHeads: 'a' }, 'INVALID_OPTION', /^columnHeads is "a"; give a list/);
    await refused(cells(), { rowHeads: [1n] }, 'INVALID_OPTION', /^rowHeads\[0\] is 1n/);
    await refused(cells(), { cellWidth: Symbol('wide') }, 'INVALID_OPTION', /^cellWidth is a symbol/);
    await refused(cells(), { background: 'white' }, 'INVALID_OPTION', /^background is "white"/);
    await refused(cells(), null, 'INVALID_OPTION', /^The options of contactSheet are null/);
    await refused('cells', {}, 'INVALID_INPUT', /^The cells of a contact sheet are "cells"/);
    await refused([cells()[0]![0]], {}, 'INVALID_INPUT', /^Row 0 of a contact sheet/);
    await refused([[undefined]], {}, 'INVALID_INPUT', /^Cell \[0\]\[0\] of a contact sheet has no picture/);
    await refused([[{ image: 'photo.jpg' }]], {}, 'INVALID_INPUT', /^Cell \[0\]\[0\]/);
    await refused([[{ ...cells()[0]![0], caption: 3 }]], {}, 'INVALID_OPTION', /^The caption of cell \[0\]\[0\] is 3/);
  });
});

describe('planesSheet', () => {
  const plane = (values: number[], shape: [number, number], caption?: string): Plane => ({
    data: new Float32Array(values),
    shape,
    caption,
  });
  const colour = (value: number): number[] => [
    ...colormapTable('viridis').subarray(3 * Math.round(255 * value), 3 * Math.round(255 * value) + 3),
  ];
  const show = async (planes: Plane[], options?: PlanesOptions) =>
    read(await planesSheet(planes, { scale: 10, ...options }));

  it('paints each number as one square of its size', async () => {
    const shown = await show([plane([-1, 0, 2, 3], [2, 2])]);
    const low = shown.extent(colour(0));
    expect([low.width, low.height]).toEqual([10, 10]);
    expect(shown.extent(colour(1))).toEqual({ left: low.left + 10, top: low.top + 10, width: 10, height: 10 });
    expect(shown.extent(colour(0.25))).toEqual({ left: low.left + 10, top: low.top, width: 10, height: 10 });
    expect(shown.extent(colour(0.75))).toEqual({ left: low.left, top: low.top + 10, width: 10, height: 10 });
  });

  it('contrasts signs by the sigmoid, or takes the numbers as they are', async () => {
    const sigmoid = await show([plane([0, Math.log(3), -Math.log(3), 100], [1, 4])], { contrast: 'sigmoid' });
    for (const value of [0.5, 0.75, 0.25, 1]) expect(sigmoid.extent(colour(value)).width).toBe(10);
    const plain = await show([plane([0.5, 0.2, -3, 7], [1, 4])], { contrast: 'none' });
    for (const value of [0.5, 0.2, 0, 1]) expect(plain.extent(colour(value)).width).toBe(10);
  });

  it('sets planes row by row in the asked number of columns', async () => {
    const planes = [0, 1, 2, 3, 4].map((i) => plane([0, i === 4 ? 0.5 : 0, 0.5, 1], [1, 4]));
    const three = await show(planes, { columns: 3 });
    const five = await show(planes, { columns: 5 });
    expect(five.width - three.width).toBe(2 * 48);
    expect(three.extent(colour(1)).height).toBe(10 + 8 + 10);
    expect(five.extent(colour(1)).height).toBe(10);
  });

  it('leaves blank what is flat or not finite, and says so', async () => {
    const blank = [234, 238, 242];
    const flat = await show([plane([3, 3], [1, 2])]);
    expect(flat.extent(blank)).toMatchObject({ width: 20, height: 10 });
    const nan = await show([plane([0, NaN, 1], [1, 3])]);
    expect(nan.extent(blank)).toMatchObject({ width: 10, height: 10 });
    const whole = await show([plane([0, 0.5, 1], [1, 3])]);
    // The remark takes a line that a whole plane does not need.
    expect(nan.height).toBeGreaterThan(whole.height + 8);
    // Equal numbers still mean something where no contrast is stretched.
    expect((await show([plane([0, 0], [1, 2])], { contrast: 'sigmoid' })).extent(colour(0.5)).width).toBe(20);
  });

  it('chooses a scale of about 112 pixels for a plane, and refuses nonsense', async () => {
    const values = Array.from({ length: 196 }, (_, i) => i);
    const tile = await read(await planesSheet([plane(values, [14, 14])]));
    const alone = await show([plane(values, [14, 14])], { scale: 8 });
    expect(tile.width).toBe(alone.width);
    const refused = (options: PlanesOptions, code: string) =>
      expect(planesSheet([plane([1, 2], [1, 2])], options)).rejects.toEqual(expect.objectContaining({ code }));
    await refused({ scale: 0 }, 'INVALID_OPTION');
    await refused({ columns: 1.5 }, 'INVALID_OPTION');
    await refused({ contrast: 'log' as never }, 'INVALID_OPTION');
    await expect(planesSheet([])).rejects.toEqual(expect.objectContaining({ code: 'INVALID_INPUT' }));
    await expect(planesSheet([plane([1], [2, 2])])).rejects.toEqual(expect.objectContaining({ code: 'INVALID_INPUT' }));
    const wrong = (planes: unknown, options: unknown, code: string, message: RegExp) =>
      expect(planesSheet(planes as never, options as never)).rejects.toEqual(
        expect.objectContaining({ name: 'SightlineError', code, message: expect.stringMatching(message) as string }),
      );
    await wrong('planes', {}, 'INVALID_INPUT', /^The planes of a sheet are "planes"/);
    await wrong([null], {}, 'INVALID_INPUT', /^The data of plane 0/);
    await wrong([{ data: [1, 2], shape: [1, 2] }], {}, 'INVALID_INPUT', /^The data of plane 0 are no Float32Array/);
    await wrong([{ data: new Float32Array(2) }], {}, 'INVALID_INPUT', /^Plane 0 of shape undefined/);
    await wrong([{ data: new Float32Array(2), shape: [1, 2n] }], {}, 'INVALID_INPUT', /^Plane 0 of shape a list/);
    await wrong([{ data: new Float32Array(2), shape: [-1, -2] }], {}, 'INVALID_INPUT', /^Plane 0 of shape \[-1,-2\]/);
    await wrong([{ ...plane([1, 2], [1, 2]), caption: {} }], {}, 'INVALID_OPTION', /^The caption of plane 0 is \{\}/);
    await wrong([plane([1, 2], [1, 2])], { title: 1 }, 'INVALID_OPTION', /^title is 1/);
    await wrong([plane([1, 2], [1, 2])], { scale: 2n }, 'INVALID_OPTION', /^scale is 2n/);
    await wrong([plane([1, 2], [1, 2])], { contrast: Symbol('log') }, 'INVALID_OPTION', /^contrast is a symbol/);
  });
});
