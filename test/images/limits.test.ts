import { readFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, stats } from '../../lib/index.js';
import type { ImageInput } from '../../lib/images/image-input.js';
import { decodeImage } from '../../lib/images/source.js';
import { Gate } from '../../lib/images/gate.js';
import { cardOf, CNN, fence, gate, imagesOf, until } from '../concurrency/models.js';
import { tiff } from './tiff.js';

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'resolved',
    ({ code }: { code?: string }) => code ?? 'no code',
  );
const SVG = Buffer.from(
  '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64" fill="#f00"/></svg>',
);

describe('samples whose range no file states', () => {
  it.each([
    ['float', 3, 32, /32-bit floating point/],
    ['double', 3, 64, /(64-bit floating point|64 bits per sample)/],
    ['uint32', 1, 32, /32-bit whole numbers/],
    ['int16', 2, 16, /16-bit numbers with a sign/],
    ['int8', 2, 8, /8-bit numbers with a sign/],
  ] as const)(
    '%s TIFF is refused by name, and not shown as another picture',
    async (_, sampleFormat, bits, message) => {
      const bytes = tiff({
        width: 4,
        height: 4,
        samples: 3,
        bits,
        sampleFormat,
        data: Buffer.alloc((4 * 4 * 3 * bits) / 8, 1),
      });
      await expect(decodeImage(bytes)).rejects.toMatchObject({
        code: 'INVALID_IMAGE',
        message: expect.stringMatching(message),
      });
    },
  );

  it('a fourth band that is no alpha is left out; one that is, counts', async () => {
    const data = Buffer.from([200, 100, 50, 0, 10, 20, 30, 0, 1, 2, 3, 255, 7, 8, 9, 128]);
    const shape = { width: 2, height: 2, samples: 4, bits: 8, sampleFormat: 1, data } as const;
    const idle = await decodeImage(tiff({ ...shape, extraSamples: [0] }));
    expect([...idle.data]).toEqual([200, 100, 50, 10, 20, 30, 1, 2, 3, 7, 8, 9]);
    const alpha = await decodeImage(tiff({ ...shape, extraSamples: [2] }));
    expect([...alpha.data.subarray(0, 9)]).toEqual([255, 255, 255, 255, 255, 255, 1, 2, 3]);
  });

  it('what this build cannot read is called so, and not damaged', async () => {
    const whole = { width: 4, height: 4, bits: 8, sampleFormat: 1, data: Buffer.alloc(80, 9) } as const;
    await expect(decodeImage(tiff({ ...whole, samples: 5, extraSamples: [0, 0] }))).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/5 bands/),
    });
    for (const [compression, name] of [
      [50000, 'ZSTD'],
      [34925, 'LZMA'],
    ] as const) {
      await expect(decodeImage(tiff({ ...whole, samples: 3, compression }))).rejects.toMatchObject({
        code: 'INVALID_IMAGE',
        message: expect.stringMatching(new RegExp(`compressed by ${name}, which this build cannot read`)),
      });
    }
  });
});

describe('strings that are no paths', () => {
  it.each([
    ['a data: URL', `data:image/png;base64,${'A'.repeat(250_000)}`, 'INVALID_INPUT', /data: URL.*give the bytes/],
    ['an http: URL', 'http://example.org/cat.jpg', 'INVALID_INPUT', /http: URL.*fetch it first/],
    ['a very long name', 'x'.repeat(250_000), 'FILE_NOT_FOUND', /250,000 characters/],
    ['a zero character', 'a\0b', 'INVALID_INPUT', /zero character/],
  ])('%s is refused in a short sentence', async (_, input, code, message) => {
    const error = (await decodeImage(input).catch((reason: unknown) => reason)) as Error;
    expect(error).toMatchObject({ name: 'SightlineError', code, message: expect.stringMatching(message) });
    expect(error.message.length).toBeLessThan(600);
  });

  it.each(['file://host/cat.jpg', 'file:///a%2fb.jpg'])('%s is INVALID_INPUT', async (url) => {
    await expect(decodeImage(new URL(url))).rejects.toMatchObject({ name: 'SightlineError', code: 'INVALID_INPUT' });
  });

  it('sizes that cannot be printed are refused', async () => {
    const raw = { data: new Uint8Array(12), width: 2, height: 10n, channels: 3 };
    await expect(decodeImage(raw as never)).rejects.toMatchObject({ name: 'SightlineError', code: 'INVALID_IMAGE' });
    await expect(decodeImage({ ...raw, height: Object.create(null) } as never)).rejects.toMatchObject({
      name: 'SightlineError',
      code: 'INVALID_IMAGE',
    });
  });
});

describe('images as the web has them', () => {
  it('ArrayBuffer, DataView, Blob and File give the pixels of the file', async () => {
    const bytes = await readFile(fixture('rgb.png'));
    const { data } = await decodeImage(fixture('rgb.png'));
    const own = new Uint8Array(bytes).buffer;
    const inputs: ImageInput[] = [own, new DataView(own), new Blob([own]), new File([new Uint8Array(own)], 'rgb.png')];
    for (const input of inputs) expect((await decodeImage(input)).data).toEqual(data);
  });
});

describe('limits of a model', () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN), maxPixels: 1000, maxQueue: 4 });
  });
  afterAll(() => model.close());

  it('maxPixels refuses before decoding, by the call or by the model', async () => {
    const png = await sharp({ create: { width: 12000, height: 12000, channels: 3, background: '#123' } })
      .png({ palette: true, colours: 2 })
      .toBuffer();
    const before = process.memoryUsage().rss;
    for (const work of [
      () => model.explain(png, { method: 'grad-cam' }),
      () => model.predict(png),
      () => model.capture(png, { features: ['layer1'] }),
    ]) {
      await expect(work()).rejects.toMatchObject({
        code: 'INVALID_IMAGE',
        message: expect.stringMatching(/144,000,000 pixels, and the limit is 1,000/),
      });
    }
    await expect(model.explain(png, { method: 'grad-cam', maxPixels: 2000 })).rejects.toMatchObject({
      message: expect.stringMatching(/limit is 2,000/),
    });
    expect(process.memoryUsage().rss - before).toBeLessThan(144e6);
    expect(await model.explain(fixture('rgb.png'), { method: 'grad-cam', maxPixels: 41 * 27 })).toHaveLength(1);
    await expect(model.explain(fixture('rgb.png'), { method: 'grad-cam' })).rejects.toMatchObject({
      details: { maxPixels: 1000 },
    });
  });

  it('SVG is rendered only where it was asked for', async () => {
    await expect(model.predict(SVG)).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/SVG/),
    });
    const trusting = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN), svg: true });
    expect(await trusting.predict(SVG)).toHaveLength(1);
    await trusting.close();
    expect([...(await decodeImage(SVG, { svg: true })).data.subarray(0, 3)]).toEqual([255, 0, 0]);
  });

  it('files are read only where paths may come from', async () => {
    const bytesOnly = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN), imageFiles: false });
    const there = fixture('rgb.png');
    // One sentence, whether there is such a file or not: it tells nothing of the disk.
    const refusal = {
      code: 'INVALID_INPUT',
      message: 'image-0 is a string, and this model reads no files (imageFiles: false); give the bytes of the image.',
    };
    for (const input of [there, `${there}-missing`, '/etc/passwd', '/dev/zero', 'data:image/png;base64,AAAA']) {
      await expect(bytesOnly.predict(input), input).rejects.toMatchObject(refusal);
    }
    await expect(bytesOnly.predict(pathToFileURL(there))).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(/^image-0 is a URL, and/) as string,
    });
    await expect(bytesOnly.explain(there, { method: 'grad-cam' })).rejects.toMatchObject(refusal);
    await expect(bytesOnly.capture(there, { features: 'all' as never })).rejects.toMatchObject({
      name: 'SightlineError',
    });
    expect(await bytesOnly.predict(await readFile(there))).toHaveLength(1);
    await bytesOnly.close();
  });

  it('a full queue refuses without reading the image', async () => {
    const { method, started } = gate();
    const abort = new AbortController();
    const busy = codeOf(model.explain(imagesOf(CNN, 1), { method, memory: 1, signal: abort.signal }));
    await started();
    const fenced = fence(model, CNN);
    const waiting = model.predict(imagesOf(CNN, 4));
    await until('four to wait', () => stats().queued === 4);
    // It would fail by another code if it were opened.
    const error: unknown = await model.predict('no/such/file.jpg').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'QUEUE_FULL', details: { waiting: 4, maxQueue: 4 } });
    abort.abort();
    expect(await busy).toBe('ABORTED');
    await fenced;
    expect(await waiting).toHaveLength(4);
    // Places of calls that failed are free again.
    expect(await Promise.all(Array.from({ length: 4 }, () => codeOf(model.predict('no/such/file.jpg'))))).toEqual(
      Array(4).fill('FILE_NOT_FOUND'),
    );
    expect(await model.predict(imagesOf(CNN, 4))).toHaveLength(4);
  });

  it('a call of more images than may wait has its own images wait for each other', async () => {
    expect(await model.predict(imagesOf(CNN, 21))).toHaveLength(21);
  });
});

describe('requests that are aborted at once', () => {
  it('are not decoded', async () => {
    const model = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN), maxQueue: 100_000 });
    const bytes = await sharp({ create: { width: 2000, height: 2000, channels: 3, background: '#123' } })
      .jpeg()
      .toBuffer();
    // By the processor's time, which other work on the machine does not lengthen.
    const processor = (since?: NodeJS.CpuUsage): number => {
      const { user, system } = process.cpuUsage(since);
      return (user + system) / 1000;
    };
    const one = process.cpuUsage();
    await decodeImage(bytes);
    const single = processor(one);
    const abort = new AbortController();
    const works = Array.from({ length: 3000 }, () => codeOf(model.predict(bytes, { signal: abort.signal })));
    abort.abort();
    const begun = process.cpuUsage();
    expect(new Set(await Promise.all(works))).toEqual(new Set(['ABORTED']));
    // Decoding them all takes 3000 times one.
    expect(processor(begun)).toBeLessThan(Math.max(1000, 100 * single));
    await model.close();
  });

  it('leave a gate without holding up those behind them', async () => {
    const doors = new Gate(2);
    const never = (): (() => void) => () => undefined;
    const [first, second] = [await doors.enter(1, never), await doors.enter(1, never)];
    let leaveThird: (reason: unknown) => void = () => undefined;
    const third = doors.enter(5, (leave) => {
      leaveThird = leave;
      return () => undefined;
    });
    let isIn = false;
    const fourth = doors.enter(1, never).then((out) => {
      isIn = true;
      return out;
    });
    first();
    await new Promise((resolve) => setImmediate(resolve));
    // The third weighs more than there is room for, and is first in line.
    expect(isIn).toBe(false);
    leaveThird(new Error('gone'));
    await expect(third).rejects.toThrow('gone');
    const out = await fourth;
    out();
    second();
    second();
    (await doors.enter(9, never))();
  });
});
