import { readFile } from 'node:fs/promises';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { colormapTable } from '../../lib/pictures/colormaps.js';
import { axisTaps, rangeOf, shortNumber, type HeatMapLike } from '../../lib/pictures/heat.js';
import { overlay, type OverlayOptions } from '../../lib/pictures/overlay.js';
import type { Picture } from '../../lib/pictures/picture.js';
import type { DecodedImage } from '../../lib/images/source.js';
import { expectWithin } from '../support/rounding.js';

function image(width: number, height: number, colour = [100, 150, 200]): DecodedImage {
  const data = new Uint8Array(width * height * 3);
  for (let at = 0; at < data.length; at++) data[at] = colour[at % 3]!;
  return { data, width, height, name: 'test' };
}

const map = (shape: [number, number], values: number[], state: HeatMapLike['state'] = 'ok'): HeatMapLike => ({
  data: new Float32Array(values),
  shape,
  state,
});

/** As read back from its PNG. */
async function pixels(picture: Picture) {
  const { data, info } = await sharp(await picture.toBuffer())
    .raw()
    .toBuffer({ resolveWithObject: true });
  expect(info.channels).toBe(3);
  return {
    width: info.width,
    height: info.height,
    at: (x: number, y: number) => [...data.subarray(3 * (y * info.width + x), 3 * (y * info.width + x) + 3)],
  };
}

function blended(
  under: number[],
  value: number,
  opacity: number,
  name: Parameters<typeof colormapTable>[0] = 'turbo',
): number[] {
  const entry = 3 * Math.round(value * 255);
  return under.map((channel, i) => Math.round(channel + opacity * (colormapTable(name)[entry + i]! - channel)));
}

describe('upsampling', () => {
  it('equals torch interpolate, bilinear with align_corners=False', async () => {
    const peer: { map: number[]; up: number[] } = JSON.parse(
      await readFile(new URL('./fixtures/bilinear.json', import.meta.url), 'utf8'),
    );
    const data = new Float32Array(peer.map);
    const across = axisTaps(31, 0, 31, 7, 'bilinear');
    const down = axisTaps(23, 0, 23, 5, 'bilinear');
    const found: number[] = [];
    const along = (row: number, x: number): number =>
      data[row * 7 + across.low[x]!]! * (1 - across.mix[x]!) + data[row * 7 + across.high[x]!]! * across.mix[x]!;
    for (let y = 0; y < 23; y++) {
      for (let x = 0; x < 31; x++) {
        found.push(along(down.low[y]!, x) * (1 - down.mix[y]!) + along(down.high[y]!, x) * down.mix[y]!);
      }
    }
    // The peer's float32: a place and its share, the other share and a product along each axis, and their sums.
    expectWithin(found, peer.up, 2 * 6, Math.max(...peer.map.map(Math.abs)));
    // Painted: each level of grey is one step of the value.
    const [least, most] = [Math.min(...peer.up), Math.max(...peer.up)];
    const painted = await pixels(overlay(image(31, 23), map([5, 7], peer.map), { opacity: 1, stretch: true }));
    const table = colormapTable('turbo');
    const [low, high] = [Math.min(...peer.map), Math.max(...peer.map)];
    expect(low <= least && most <= high).toBe(true);
    for (let y = 0; y < 23; y++) {
      for (let x = 0; x < 31; x++) {
        const level = ((peer.up[y * 31 + x]! - low) / (high - low)) * 255;
        const near = [Math.round(level - 0.01), Math.round(level + 0.01)].map((each) => [
          ...table.subarray(3 * each, 3 * each + 3),
        ]);
        expect(near).toContainEqual(painted.at(x, y));
      }
    }
  });

  it('nearest keeps each cell whole', () => {
    expect([...axisTaps(6, 0, 6, 3, 'nearest').low]).toEqual([0, 0, 1, 1, 2, 2]);
    expect([...axisTaps(6, 2, 4, 2, 'nearest').low]).toEqual([0, 0, 0, 0, 1, 1]);
  });

  it('rangeOf finds flat maps and numbers that are not finite', () => {
    expect(rangeOf(new Float32Array([1, -2, 3]))).toEqual({ min: -2, max: 3, state: 'ok' });
    expect(rangeOf(new Float32Array([5, 5])).state).toBe('flat');
    expect(rangeOf(new Float32Array([])).state).toBe('flat');
    expect(rangeOf(new Float32Array([0, NaN])).state).toBe('nan');
    expect(rangeOf(new Float32Array([0, -Infinity])).state).toBe('nan');
  });

  it('shortNumber keeps three digits', () => {
    expect([0.123456, 1234.5, -0.5, 2e-7, 0].map(shortNumber)).toEqual(['0.123', '1230', '-0.5', '2e-7', '0']);
  });
});

describe('overlay', () => {
  const under = [100, 150, 200];
  const half = map([1, 2], [0, 1]);
  const nearest = { interpolation: 'nearest' } as const;

  it('blends the colours of a map in [0, 1] over the image', async () => {
    const { at, width, height } = await pixels(overlay(image(8, 4), half, nearest));
    expect([width, height]).toEqual([8, 4]);
    expect(at(0, 0)).toEqual(blended(under, 0, 0.5));
    expect(at(3, 3)).toEqual(blended(under, 0, 0.5));
    expect(at(4, 0)).toEqual(blended(under, 1, 0.5));
  });

  it('interpolates values, not colours', async () => {
    // Pixel 1 of 4 lies at map coordinate 0.25: its colour is entry 64 of the table, which no mix of the end colours
    // is.
    const { at } = await pixels(overlay(image(4, 1), half, { opacity: 1, colormap: 'viridis' }));
    expect([0, 1, 2, 3].map((x) => at(x, 0))).toEqual(
      [0, 0.25, 0.75, 1].map((value) => blended(under, value, 1, 'viridis')),
    );
  });

  it('obeys opacity and colour map', async () => {
    expect((await pixels(overlay(image(2, 2), half, { ...nearest, opacity: 0 }))).at(1, 1)).toEqual(under);
    expect(
      (await pixels(overlay(image(2, 2), half, { ...nearest, opacity: 1, colormap: 'inferno' }))).at(1, 1),
    ).toEqual(blended(under, 1, 1, 'inferno'));
    expect((await pixels(overlay(image(2, 2), half, { ...nearest, opacity: 0.25 }))).at(0, 0)).toEqual(
      blended(under, 0, 0.25),
    );
  });

  it('paints a map in [0, 1] as it is, and stretches any other', async () => {
    const quiet = await pixels(overlay(image(2, 1), map([1, 2], [0.2, 0.4]), nearest));
    expect(quiet.at(0, 0)).toEqual(blended(under, 0.2, 0.5));
    const raw = await pixels(overlay(image(3, 1), map([1, 3], [-10, 20, 50]), nearest));
    expect([0, 1, 2].map((x) => raw.at(x, 0))).toEqual([0, 0.5, 1].map((value) => blended(under, value, 0.5)));
  });

  it('leaves the image as it is outside the box, to the nearest pixel centre', async () => {
    const boxed = await pixels(
      overlay(image(10, 6), half, { ...nearest, box: { left: 2.6, top: 1.6, width: 5, height: 3 } }),
    );
    const painted = (x: number, y: number): boolean => boxed.at(x, y).join() !== under.join();
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((x) => painted(x, 3))).toEqual([
      false,
      false,
      false,
      true,
      true,
      true,
      true,
      true,
      false,
      false,
    ]);
    expect([0, 1, 2, 3, 4, 5].map((y) => painted(4, y))).toEqual([false, false, true, true, true, false]);
    // The map's seam lies at 2.6 + 2.5 = 5.1.
    expect(boxed.at(4, 3)).toEqual(blended(under, 0, 0.5));
    expect(boxed.at(5, 3)).toEqual(blended(under, 1, 0.5));
  });

  it('reaches past the edges of the image', async () => {
    const { at } = await pixels(
      overlay(image(4, 4), half, { ...nearest, box: { left: -4, top: -4, width: 8, height: 12 } }),
    );
    for (const x of [0, 3]) expect(at(x, 2)).toEqual(blended(under, 1, 0.5));
  });

  it('scales image and box to the output width', async () => {
    const { width, height, at } = await pixels(
      overlay(image(10, 5), half, { ...nearest, width: 40, box: { left: 5, top: 0, width: 4, height: 5 } }),
    );
    expect([width, height]).toEqual([40, 20]);
    expect([19, 20, 27, 28, 35, 36].map((x) => at(x, 10))).toEqual([
      under,
      ...[0, 0, 1, 1].map((value) => blended(under, value, 0.5)),
      under,
    ]);
  });

  it('does not touch the decoded image, and gives the same bytes each time', async () => {
    const source = image(6, 6);
    const result = overlay(source, half);
    const first = await result.toBuffer();
    expect((await result.toBuffer()).equals(first)).toBe(true);
    expect(source.data.every((value, at) => value === under[at % 3])).toBe(true);
  });

  it('shows the map as it was when it was asked for, even where that was transferred before the picture is drawn', async () => {
    const mine = map([1, 2], [0, 1]);
    const [kept, again] = [overlay(image(8, 4), mine, nearest), overlay(image(8, 4), map([1, 2], [0, 1]), nearest)];
    structuredClone(mine.data, { transfer: [mine.data.buffer as ArrayBuffer] });
    expect(mine.data).toHaveLength(0);
    expect((await kept.toBuffer()).equals(await again.toBuffer())).toBe(true);
    expect(() => overlay(image(8, 4), mine)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }));
  });

  it.each([
    ['flat by its state', map([1, 2], [0, 1], 'flat')],
    ['flat by its numbers', map([1, 2], [0.5, 0.5])],
    ['NaN by its state', map([1, 2], [0, 1], 'nan')],
    ['NaN by its numbers', map([1, 2], [0, NaN])],
  ])('shows a grey image with a line of text for a map that is %s', async (_what, broken) => {
    const { at, width, height } = await pixels(overlay(image(300, 200, [250, 40, 90]), broken));
    expect([width, height]).toEqual([300, 200]);
    const all = Array.from({ length: 300 * 200 }, (_, i) => at(i % 300, Math.floor(i / 300)));
    expect(all.every(([r, g, b]) => Math.max(r!, g!, b!) - Math.min(r!, g!, b!) <= 12)).toBe(true);
    expect(new Set(all.slice(0, 300 * 100).map(String)).size).toBe(1);
    const strip = all.slice(300 * 178);
    expect(strip.filter(([r]) => r! < 90).length).toBeGreaterThan(1000);
    expect(strip.filter(([r]) => r! > 200).length).toBeGreaterThan(200);
  });

  it('says flat and NaN in different words', async () => {
    const flat = await overlay(image(300, 200), map([1, 2], [1, 1])).toBuffer();
    const nan = await overlay(image(300, 200), map([1, 2], [NaN, 1])).toBuffer();
    expect(flat.equals(nan)).toBe(false);
  });

  it('adds a title above and a colour bar at the right', async () => {
    const plain = { width: 200, height: 100 };
    const options: OverlayOptions = { ...nearest, title: 'grad-cam · cat', legend: true };
    const both = await pixels(overlay(image(200, 100), half, options));
    const titled = await pixels(overlay(image(200, 100), half, { ...nearest, title: 'grad-cam · cat' }));
    const barred = await pixels(overlay(image(200, 100), half, { ...nearest, legend: true }));
    expect(titled.width).toBe(plain.width + 24);
    expect(barred.height).toBe(plain.height + 24);
    expect([both.width, both.height]).toEqual([barred.width, titled.height]);
    // The bar runs from the high colour at the top to the low one at the bottom.
    const bar = 12 + 200 + 12 + 5;
    for (const y of [1, 50, 98]) expect(barred.at(bar, 12 + y)).toEqual(blended(under, 1 - (y + 0.5) / 100, 1));
  });

  it('writes the numbers of a raw map beside the bar', async () => {
    const raw = await pixels(overlay(image(200, 100), map([1, 2], [-3, 1250]), { legend: true }));
    const relative = await pixels(overlay(image(200, 100), half, { legend: true }));
    expect(raw.width).not.toBe(relative.width);
  });

  it('breaks a long title to the width of the picture', async () => {
    const { width, height } = await pixels(
      overlay(image(120, 50), half, { title: 'attention-rollout · West Highland white terrier' }),
    );
    expect(width).toBe(120 + 24);
    expect(height).toBeGreaterThan(50 + 24 + 30);
  });

  it('refuses wrong options at once', () => {
    const refusal = (options: OverlayOptions, message: RegExp) =>
      expect(() => overlay(image(4, 4), half, options)).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringMatching(message) }),
      );
    refusal({ opacity: 1.5 }, /opacity is 1\.5/);
    refusal({ opacity: NaN }, /opacity is NaN/);
    refusal({ colormap: 'turob' as never }, /Did you mean "turbo"\?/);
    refusal({ width: 0 }, /width is 0/);
    refusal({ interpolation: 'cubic' as never }, /interpolation is "cubic"/);
    refusal({ title: {} as never }, /^title is \{\}; give a string\.$/);
    refusal({ width: Symbol('wide') as never }, /^width is a symbol/);
    refusal({ width: Object.create(null) as never }, /^width is \{\}/);
    refusal({ opacity: 1n as never }, /^opacity is 1n/);
    refusal({ box: { left: 0, top: 0, width: 5n, height: 5 } as never }, /^box is an object/);
    refusal('turbo' as never, /^The options of overlay are "turbo"/);
    refusal({ box: { left: 0, top: 0, width: 0, height: 5 } }, /box is/);
    expect(() => overlay(image(4, 4), map([2, 2], [1, 2, 3]))).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', message: 'A map of shape [2, 2] cannot have 3 numbers.' }),
    );
  });
});
