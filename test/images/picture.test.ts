import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Raster } from '../../lib/pictures/canvas.js';
import { overlay } from '../../lib/pictures/overlay.js';
import { Picture, type PictureOptions } from '../../lib/pictures/picture.js';
import { contactSheet } from '../../lib/pictures/sheet.js';
import { SightlineError } from '../../lib/support/errors.js';

/** Of two colors, left and right: lossless formats give them back. */
const LEFT = [200, 30, 60];
const RIGHT = [10, 90, 220];
const raster: Raster = { data: Uint8Array.from([...LEFT, ...RIGHT, ...LEFT, ...RIGHT]), width: 2, height: 2 };
const of = (drawn: Raster = raster): Picture => new Picture(() => Promise.resolve(drawn));

async function decoded(bytes: Uint8Array) {
  const image = sharp(bytes);
  const { format } = await image.metadata();
  const { data, info } = await image.removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { format, size: [info.width, info.height], pixels: [...data] };
}

describe('a picture', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sightline-picture-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('is PNG as bytes, of the very pixels', async () => {
    expect(await decoded(await of().toBuffer())).toEqual({ format: 'png', size: [2, 2], pixels: [...raster.data] });
  });

  it.each([
    ['a.png', 'png', 'png'],
    ['a.PNG', 'png', 'png'],
    ['a.jpg', 'jpeg', 'jpeg'],
    ['a.jpeg', 'jpeg', 'jpeg'],
    ['a.WebP', 'webp', 'webp'],
    ['a.avif', 'heif', 'avif'],
    ['a.tif', 'tiff', 'tiff'],
    ['a.gif', 'gif', 'gif'],
  ])('goes to %s in the format of the name', async (name, read, format) => {
    const path = join(folder, name);
    const told = await of().toFile(path);
    const found = await decoded(await readFile(path));
    expect(found).toMatchObject({ format: read, size: [2, 2] });
    expect(told).toEqual({ width: 2, height: 2, bytes: (await stat(path)).size, format });
    if (['png', 'tiff', 'gif'].includes(format)) expect(found.pixels).toEqual([...raster.data]);
  });

  it('goes by the option before the name', async () => {
    const path = join(folder, 'without-a-name.out');
    await of().toFile(path, { format: 'webp' });
    expect((await decoded(await readFile(path))).format).toBe('webp');
    expect((await decoded(await of().toBuffer({ format: 'jpeg' }))).format).toBe('jpeg');
  });

  it('gives less to lossy formats of less quality', async () => {
    const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 2654435761) >>> 24);
    const picture = of({ data: noise, width: 64, height: 64 });
    for (const format of ['jpeg', 'webp', 'avif'] as const) {
      const [low, high] = [
        await picture.toBuffer({ format, quality: 10 }),
        await picture.toBuffer({ format, quality: 95 }),
      ];
      expect(low.length).toBeLessThan(high.length);
    }
  });

  it('gives a sharp instance of its own each time, which writes PNG unless told otherwise', async () => {
    const picture = of();
    const small = await (await picture.sharp()).resize(1, 1, { kernel: 'nearest' }).toBuffer();
    expect(await decoded(small)).toMatchObject({ format: 'png', size: [1, 1] });
    const path = join(folder, 'by-sharp.webp');
    await (await picture.sharp()).toFile(path);
    expect((await decoded(await readFile(path))).format).toBe('webp');
    expect(await picture.sharp()).not.toBe(await picture.sharp());
    expect(await decoded(await (await picture.sharp()).toBuffer())).toEqual({
      format: 'png',
      size: [2, 2],
      pixels: [...raster.data],
    });
  });

  it('is drawn when it is asked for, and once', async () => {
    let drawn = 0;
    const picture = new Picture(() => {
      drawn++;
      return Promise.resolve(raster);
    });
    expect(drawn).toBe(0);
    await Promise.all([
      picture.toBuffer(),
      picture.toFile(join(folder, 'once.png')),
      picture.sharp(),
      picture.pixels(),
    ]);
    expect(drawn).toBe(1);
  });

  it('rejects with what went wrong while it was drawn, without a warning of the process', async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error): void => void warnings.push(warning);
    process.on('warning', listen);
    try {
      const reason = new SightlineError('INVALID_INPUT', 'There is nothing to draw.');
      const picture = new Picture(() => Promise.reject(reason));
      await expect(picture.toBuffer()).rejects.toBe(reason);
      await expect(picture.toFile(join(folder, 'never.png'))).rejects.toBe(reason);
      await expect(picture.sharp()).rejects.toBe(reason);
      await new Promise(setImmediate);
      expect(warnings).toEqual([]);
      expect(await readdir(folder)).not.toContain('never.png');
    } finally {
      process.off('warning', listen);
    }
  });

  it.each([
    ['a.bmp', {}, /a\.bmp names no picture format; end it in \.png/],
    ['a', {}, /names no picture format/],
    ['', {}, /toFile got ""/],
    ['a.png', { format: 'jpg' }, /format is "jpg"; give png, jpeg, .* Did you mean "jpeg"/],
    ['a.jpg', { quality: 0 }, /quality is 0; give a whole number from 1 to 100/],
    ['a.jpg', { quality: 90.5 }, /quality is 90\.5/],
    ['a.jpg', null, /The options of a picture are null/],
    ['no-such-folder/a.png', {}, /The picture .*a\.png cannot be written: ENOENT/],
  ])('refuses to go to %j with %j', async (name, options, message) => {
    const path = name === '' ? '' : join(folder, name);
    await expect(of().toFile(path, options as PictureOptions)).rejects.toMatchObject({
      name: 'SightlineError',
      code: 'INVALID_OPTION',
      message: expect.stringMatching(message) as string,
    });
  });

  it('is a cell of a contact sheet', async () => {
    const red = {
      data: new Uint8Array(32 * 32 * 3).map((_, i) => (i % 3 === 0 ? 255 : 0)),
      width: 32,
      height: 32,
      name: 'red',
    };
    const painted = overlay(red, { data: new Float32Array([0, 1]), shape: [1, 2], state: 'ok' }, { opacity: 0 });
    const { pixels } = await decoded(await (await contactSheet([[{ image: painted }]], { cellWidth: 32 })).toBuffer());
    const count = pixels.filter(
      (value, i) => i % 3 === 0 && value === 255 && pixels[i + 1] === 0 && pixels[i + 2] === 0,
    ).length;
    expect(count).toBe(32 * 32);
  });
});
