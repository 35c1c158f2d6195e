import { copyFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { decodeNpy } from '../../lib/support/npy.js';
import { decodeImage, type DecodedImage } from '../../lib/images/source.js';

const fixtures = fileURLToPath(new URL('./fixtures/', import.meta.url));

async function reference(file: string) {
  const { data, shape } = decodeNpy(await readFile(join(fixtures, `${file}.npy`)), file);
  return { data: data as Uint8Array, height: shape[0]!, width: shape[1]! };
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
  return worst;
}

async function compared(file: string, image?: DecodedImage): Promise<number> {
  const decoded = image ?? (await decodeImage(join(fixtures, file)));
  const expected = await reference(file);
  expect([decoded.width, decoded.height]).toEqual([expected.width, expected.height]);
  return largestDifference(decoded.data, expected.data);
}

describe('decodeImage gives the pixels that Pillow gives', () => {
  it.each([
    ['rgb.png', 0],
    ['palette.png', 0],
    ['grey.png', 0],
    ['bilevel.png', 0],
    ['grey16.png', 0],
    ['rgb16.png', 0],
    ['lossless.webp', 0],
    ['picture.tif', 0],
    ['frames.gif', 0],
    ['cmyk.tif', 0],
    ['palette-transparent.png', 0],
    ['alpha.png', 1],
    ['alpha.webp', 1],
    ['grey-alpha.png', 1],
    ['photo-444.jpg', 1],
    ['photo-420.jpg', 1],
    ['progressive.jpg', 1],
    ['grey.jpg', 1],
    ['cmyk.jpg', 1],
    ['lossy.webp', 1],
    ['picture.avif', 1],
    ...[1, 2, 3, 4, 5, 6, 7, 8].map((tag) => [`orientation-${tag}.jpg`, 1] as const),
  ] as const)('%s, within %i', async (file, tolerance) => {
    expect(await compared(file)).toBeLessThanOrEqual(tolerance);
  });

  it('takes the numbers of a file with an embedded profile as they are', async () => {
    const wide = await sharp(join(fixtures, 'rgb.png')).withIccProfile('p3').png().toBuffer();
    const stored = await sharp(wide, { ignoreIcc: true }).raw().toBuffer();
    const managed = await sharp(wide).raw().toBuffer();
    expect(largestDifference(stored, managed)).toBeGreaterThan(5);
    expect(largestDifference((await decodeImage(wide)).data, stored)).toBe(0);
  });

  it('gives the same pixels of a photo with a profile by its path, its bytes and a sharp instance', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sightline-decode-'));
    try {
      for (const [name, encoded] of [
        ['p3.jpg', await sharp(join(fixtures, 'photo-444.jpg')).withIccProfile('p3').jpeg().toBuffer()],
        ['p3.png', await sharp(join(fixtures, 'rgb.png')).withIccProfile('p3').png().toBuffer()],
      ] as const) {
        const path = join(folder, name);
        await writeFile(path, encoded);
        const { data } = await decodeImage(path);
        expect(largestDifference((await decodeImage(encoded)).data, data), name).toBe(0);
        const instance = sharp(path);
        expect(largestDifference((await decodeImage(instance)).data, data), name).toBe(0);
        // The caller's own instance goes on converting.
        expect(largestDifference(await instance.raw().toBuffer(), data), name).toBeGreaterThan(5);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('turns the eight orientations into the same upright scene shape', async () => {
    const sizes = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map(async (tag) => {
        const { width, height } = await decodeImage(join(fixtures, `orientation-${tag}.jpg`));
        return `${width}x${height}`;
      }),
    );
    expect(sizes).toEqual(['41x27', '41x27', '41x27', '41x27', '27x41', '27x41', '27x41', '27x41']);
  });
});

describe('decodeImage takes', () => {
  const file = 'rgb.png';
  const path = join(fixtures, file);

  it('a Buffer, a Uint8Array over part of a larger buffer, and a file: URL', async () => {
    const bytes = await readFile(path);
    const padded = new Uint8Array(bytes.length + 20);
    padded.set(bytes, 7);
    expect(await compared(file, await decodeImage(bytes))).toBe(0);
    expect(await compared(file, await decodeImage(padded.subarray(7, 7 + bytes.length)))).toBe(0);
    expect(await compared(file, await decodeImage(pathToFileURL(path)))).toBe(0);
  });

  it('a sharp instance, as the picture it would write, and leaves the instance usable', async () => {
    const instance = sharp(path).extract({ left: 3, top: 2, width: 10, height: 8 }).png();
    const image = await decodeImage(instance, { name: 'cut' });
    expect([image.width, image.height, image.name]).toEqual([10, 8, 'cut']);
    const whole = await reference(file);
    expect([...image.data.subarray(0, 3)]).toEqual([...whole.data.subarray(3 * (2 * 41 + 3), 3 * (2 * 41 + 3) + 3)]);
    expect((await instance.toBuffer()).subarray(1, 4).toString()).toBe('PNG');
  });

  it('raw pixels of 1 to 4 channels', async () => {
    const grey = await decodeImage({ data: new Uint8Array([0, 100, 255, 7]), width: 2, height: 2, channels: 1 });
    expect([...grey.data]).toEqual([0, 0, 0, 100, 100, 100, 255, 255, 255, 7, 7, 7]);
    const greyAlpha = await decodeImage({ data: new Uint8Array([10, 255, 10, 0]), width: 2, height: 1, channels: 2 });
    expect([...greyAlpha.data]).toEqual([10, 10, 10, 255, 255, 255]);
    const rgba = await decodeImage({
      data: new Uint8ClampedArray([1, 2, 3, 255, 1, 2, 3, 0]),
      width: 2,
      height: 1,
      channels: 4,
    });
    expect([...rgba.data]).toEqual([1, 2, 3, 255, 255, 255]);
    const data = new Uint8Array([1, 2, 3]);
    const rgb = await decodeImage({ data, width: 1, height: 1, channels: 3 });
    data[0] = 99;
    expect([...rgb.data]).toEqual([1, 2, 3]);
  });

  it('names images by base name, else by the given name', async () => {
    expect((await decodeImage(path, { name: 'ignored' })).name).toBe('rgb.png');
    expect((await decodeImage(await readFile(path), { name: 'image-3' })).name).toBe('image-3');
  });

  it('a file that was rewritten under the same name, without serving the old picture', async () => {
    const copy = join(await mkdtemp(join(tmpdir(), 'sightline-')), 'again.png');
    await copyFile(path, copy);
    await decodeImage(copy);
    await copyFile(join(fixtures, 'grey.png'), copy);
    expect(await compared('grey.png', await decodeImage(copy))).toBe(0);
  });
});

describe('decodeImage refuses', () => {
  const refusal = (code: string, message: RegExp) =>
    expect.objectContaining({
      name: code === 'ABORTED' ? 'AbortError' : 'SightlineError',
      code,
      message: expect.stringMatching(message),
    });
  const folder = mkdtemp(join(tmpdir(), 'sightline-'));

  it('a path where nothing is', async () => {
    await expect(decodeImage('no/such/cat.jpg')).rejects.toEqual(refusal('FILE_NOT_FOUND', /no\/such\/cat\.jpg/));
  });

  it('a directory', async () => {
    await expect(decodeImage(fixtures)).rejects.toEqual(refusal('NOT_A_FILE', /fixtures\/ is a directory/));
  });

  it('a device, which could be read for ever', async () => {
    await expect(decodeImage('/dev/zero')).rejects.toEqual(refusal('NOT_A_FILE', /not a regular file/));
  });

  it('a file and a buffer of 0 bytes', async () => {
    const path = join(await folder, 'nothing.png');
    await writeFile(path, '');
    await expect(decodeImage(path)).rejects.toEqual(refusal('INVALID_IMAGE', /nothing\.png is empty/));
    await expect(decodeImage(new Uint8Array(0), { name: 'image-1' })).rejects.toEqual(
      refusal('INVALID_IMAGE', /^image-1 is empty/),
    );
  });

  it('text under an image name', async () => {
    const path = join(await folder, 'text.jpg');
    await writeFile(path, 'this is not an image');
    await expect(decodeImage(path)).rejects.toEqual(refusal('INVALID_IMAGE', /text\.jpg is not an image/));
  });

  it.each([
    'rgb.png',
    'photo-444.jpg',
    'progressive.jpg',
    'lossless.webp',
    'lossy.webp',
    'picture.avif',
    'picture.tif',
    'frames.gif',
    'cmyk.jpg',
  ])('a truncated %s', async (file) => {
    const path = join(await folder, `cut-${file}`);
    await copyFile(join(fixtures, file), path);
    await truncate(path, Math.floor((await readFile(path)).length / 2));
    await expect(decodeImage(path)).rejects.toEqual(
      refusal('INVALID_IMAGE', /cut-.* (damaged or cut short|is not an image)/),
    );
  });

  it('a 50,000 x 50,000 PNG header, fast and without room for its pixels', async () => {
    const bytes = await readFile(join(fixtures, 'rgb.png'));
    bytes.writeUInt32BE(50000, 16);
    bytes.writeUInt32BE(50000, 20);
    bytes.writeUInt32BE(crc32(bytes.subarray(12, 29)), 29);
    const before = process.memoryUsage().rss;
    const begun = process.cpuUsage();
    // The whole file, its pixels cut off, and the header alone.
    for (const length of [bytes.length, 60, 33]) {
      await expect(decodeImage(bytes.subarray(0, length), { name: 'bomb' })).rejects.toEqual(
        refusal(
          'INVALID_IMAGE',
          /bomb is too large: 50000 x 50000 is 2,500,000,000 pixels, and the limit is 268,402,689/,
        ),
      );
    }
    const { user, system } = process.cpuUsage(begun);
    expect(user + system, 'microseconds of the processor').toBeLessThan(500_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
  });

  it('more pixels than the caller allows', async () => {
    await expect(decodeImage(join(fixtures, 'rgb.png'), { maxPixels: 1000 })).rejects.toEqual(
      refusal('INVALID_IMAGE', /41 x 27 is 1,107 pixels, and the limit is 1,000/),
    );
  });

  it('raw pixels whose size does not fit', async () => {
    const raw = { data: new Uint8Array(10), width: 2, height: 2, channels: 3 as const };
    await expect(decodeImage(raw, { name: 'image-0' })).rejects.toEqual(
      refusal('INVALID_IMAGE', /image-0 has 10 bytes.*need 12/),
    );
    await expect(decodeImage({ ...raw, width: 0 })).rejects.toEqual(refusal('INVALID_IMAGE', /at least 1/));
    await expect(decodeImage({ ...raw, channels: 5 as never })).rejects.toEqual(refusal('INVALID_IMAGE', /5 channels/));
  });

  it('what is no image at all', async () => {
    await expect(decodeImage(42 as never)).rejects.toEqual(refusal('INVALID_INPUT', /not an image/));
    await expect(decodeImage(null as never)).rejects.toEqual(refusal('INVALID_INPUT', /not an image/));
    await expect(decodeImage(new URL('ftp://host/cat.jpg'))).rejects.toEqual(
      refusal('INVALID_INPUT', /not a file: URL/),
    );
  });

  it('to go on once aborted', async () => {
    await expect(decodeImage(join(fixtures, 'rgb.png'), { signal: AbortSignal.abort() })).rejects.toEqual(
      refusal('ABORTED', /aborted/),
    );
    const controller = new AbortController();
    const pending = decodeImage(join(fixtures, 'rgb.png'), { signal: controller.signal });
    controller.abort();
    await expect(pending).rejects.toEqual(refusal('ABORTED', /aborted/));
  });
});

function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
